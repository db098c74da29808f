package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// cmdMakeStore makes a store with three namespaces: one that has read twelve
// records with ten IDs, a minute apart, one that nobody has used, and one that
// began in the middle of its log.
func cmdMakeStore(ts *testscript.TestScript, _ bool, args []string) {
	st, err := store.Open(ts.MkAbs(args[0]), nil)
	ts.Check(err)
	ns, err := st.Namespace("billing/payments/0", &store.NamespaceOptions{Window: window.Week})
	ts.Check(err)
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	ts.Check(ns.Update(func(b *store.Batch) error {
		for i, id := range strings.Split("a b c d a e f g h a i j", " ") {
			_, err := b.Do(store.Record{
				ID: []byte(id), At: begin.Add(time.Duration(i) * time.Minute),
				Origin: store.Position{TopicID: store.ID{1}, Offset: int64(i), LeaderEpoch: 7},
			}, nil)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	_, err = st.Namespace("billing/payments/1", nil)
	ts.Check(err)
	late, err := st.Namespace("late", nil)
	ts.Check(err)
	ts.Check(late.Update(func(b *store.Batch) error {
		for i, id := range []string{
			"a", "\x01x\x01y", strings.Repeat("long", 100), "0e37df36-f698-11e6-8dd4-cb9ced3df976",
			"b", "c", "d", "e", "f",
		} {
			_, err := b.Do(store.Record{
				ID: []byte(id), At: begin.Add(time.Duration(i) * time.Minute),
				Origin: store.Position{TopicID: store.ID{1}, Offset: 500 + int64(i)},
			}, nil)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	ts.Check(st.Close())
}

func cmdHoldStore(ts *testscript.TestScript, _ bool, args []string) {
	st, err := store.Open(ts.MkAbs(args[0]), nil)
	ts.Check(err)
	ts.Defer(func() { ts.Check(st.Close()) })
}

// cmdLargeStore makes a store whose markers are in tables, but for the last.
func cmdLargeStore(ts *testscript.TestScript, _ bool, args []string) {
	st, err := store.Open(ts.MkAbs(args[0]), nil)
	ts.Check(err)
	ns, err := st.Namespace("large", &store.NamespaceOptions{Window: window.Week})
	ts.Check(err)
	at := time.Date(2026, 11, 1, 13, 0, 0, 0, time.UTC) // a bucket each day
	for day := range 4 {
		ts.Check(ns.Update(func(b *store.Batch) error {
			for i := range 60_000 {
				offset := int64(day*60_000 + i)
				_, err := b.Do(store.Record{
					ID: fmt.Appendf(nil, "id-%d", offset), At: at.Add(time.Duration(i) * 200 * time.Millisecond),
					Origin: store.Position{TopicID: store.ID{1}, Offset: offset},
				}, nil)
				if err != nil || day == 3 { // one marker, which ends the segment before it
					return err
				}
			}
			return nil
		}))
		at = at.Add(21 * time.Hour)
	}
	for tries, sealed := 0, 0; sealed < 3; tries++ { // written in the background
		if tries == 20_000 {
			ts.Fatalf("%d of 3 tables are there", sealed)
		}
		ts.Check(ns.Update(func(b *store.Batch) error { return b.SetPosition(b.Position()) }))
		s, err := ns.Status()
		ts.Check(err)
		sealed = s.Sealed
	}
	ts.Check(st.Close())
}

func cmdDamage(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "db", args[1]))
	ts.Check(err)
	var path string
	var content []byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		ts.Check(err)
		if len(b) > len(content) {
			path, content = file, b
		}
	}
	content[len(content)/3] ^= 1
	ts.Check(os.WriteFile(path, content, 0o600))
}

func cmdImage(ts *testscript.TestScript, _ bool, args []string) {
	var all strings.Builder
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %x\n", path, sha256.Sum256(content))
		return err
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(all.String()), 0o600))
}
