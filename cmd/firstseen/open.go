package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firstseen/firstseen/store"
)

// lookInto calls fn with the store in dir, of which nothing changes.
func lookInto(dir string, fn func(*store.Store) error) error {
	return withStore(dir, &store.Options{ReadOnly: true}, fn)
}

// changeStore calls fn with the store in dir, which may change it.
func changeStore(dir string, fn func(*store.Store) error) error {
	return withStore(dir, &store.Options{}, fn)
}

func withStore(dir string, o *store.Options, fn func(*store.Store) error) (err error) {
	if err := checkStore(dir); err != nil {
		return err
	}
	o.Logger = slog.New(slog.DiscardHandler) // whatever matters is the error as well
	st, err := store.Open(dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return fn(st)
}

// lookIntoNamespace calls fn with a namespace, which must be there, with its
// markers read and proved.
func lookIntoNamespace(dir, name string, fn func(*store.Namespace) error) error {
	return lookInto(dir, func(st *store.Store) error { return withNamespace(st, name, fn) })
}

// changeNamespace calls fn with a namespace that it may change.
func changeNamespace(dir, name string, fn func(*store.Namespace) error) error {
	return changeStore(dir, func(st *store.Store) error { return withNamespace(st, name, fn) })
}

func withNamespace(st *store.Store, name string, fn func(*store.Namespace) error) error {
	if err := checkNamespace(st, name); err != nil {
		return err
	}
	ns, err := st.Namespace(name, nil)
	if err != nil {
		return err
	}
	if err := ns.Load(); err != nil {
		return err
	}
	return fn(ns)
}

// checkNamespace refuses a name that there is not: asking for it would make it.
func checkNamespace(st *store.Store, name string) error {
	names := slices.Collect(st.Namespaces())
	switch {
	case slices.Contains(names, name):
		return nil
	case len(names) == 0:
		return fmt.Errorf("there is no namespace %q; the store has none yet", name)
	case len(names) > 8:
		return fmt.Errorf("there is no namespace %q; give one of the %d that firstseen stat shows", name, len(names))
	default:
		return fmt.Errorf("there is no namespace %q; give %s", name, strings.Join(names, " or "))
	}
}

// checkStore refuses a directory that is no store: looking at one must not make
// one.
func checkStore(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s; give the directory of a store", dir)
	case err != nil:
		return notSeen(err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory; give the directory of a store", dir)
	}
	_, err = os.Stat(filepath.Join(dir, "FIRSTSEEN"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Stat(filepath.Join(dir, "db")); there == nil {
			return fmt.Errorf("%w: %s has a database and no file FIRSTSEEN; "+
				"restore a backup, or delete the directory to start cold", store.ErrCorrupt, dir)
		}
		return fmt.Errorf("%s is no store, it has no file FIRSTSEEN; give the directory of a store", dir)
	}
	if err != nil {
		return notSeen(err)
	}
	return nil
}

func notSeen(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w; run firstseen as the user that the store belongs to", store.ErrUnfit, err)
	}
	return fmt.Errorf("the store cannot be looked at: %w; give the directory of a store that can be read", err)
}
