package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// AdoptOptions say what Adopt may take. Nil and the zero value take checkpoints
// only.
type AdoptOptions struct {
	// Unsealed also takes a directory that is no checkpoint: a copy of a store,
	// made while it was closed (ErrCopied), or an older state of one
	// (ErrRolledBack). Everything in it is read and proved first, which takes a
	// second for a few hundred megabytes. It cannot prove that nothing is
	// missing at its end: batches that came after it was copied are lost.
	Unsealed bool
}

// Adopt makes a checkpoint a store, which Open opens: with a new identity, for
// the store that it was taken from may still be running, and the old identity
// as an ancestor (Store.Ancestors). Its markers, positions, state and outputs
// are those of the checkpoint; it remembers no opening of its ancestor.
//
// The directory must be where it is to stay. Nobody may have it open (ErrLocked).
// Adopt returns ErrUnsealed for what is no whole checkpoint, and ErrCorrupt when
// it does not hold what it was sealed with. After a crash it may be called again
// until it has succeeded once.
func Adopt(dir string, opts *AdoptOptions) error { return adopt(dir, opts, seams{}) }

func adopt(dir string, opts *AdoptOptions, sm seams) (err error) {
	a := adoption{s: newStore(dir, (*Options)(nil).withDefaults(), sm)}
	if opts != nil {
		a.AdoptOptions = *opts
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: adopt %s: %w", dir, trimmed(explained(err)))
		}
		err = errors.Join(err, a.s.release())
	}()
	if a.s.maxTables, err = a.s.preflight(); err != nil {
		return err
	}
	if err := a.admit(); err != nil {
		return err
	}
	if a.id, _, err = a.s.take(); err != nil {
		return err
	}
	if a.finished() {
		return a.unseal()
	}
	return a.make()
}

// adoption makes a store of a directory. Its steps:
//
//	1 prove what is there
//	2 one synced batch: a new ID, the old one as ancestor, no openings
//	3 the identity file: the new ID, this directory
//	4 remove the seal
//
// A crash before 2 leaves what there was. After it, the next Adopt finds the old
// ID in the identity file as the last ancestor of the record, and goes on with 3;
// Open refuses the directory for that. Between 3 and 4 the seal stands beside the
// identity of a store: only its removal is left, and Open refuses it still.
type adoption struct {
	AdoptOptions
	s      *Store
	id     identity
	seal   seal
	sealed bool
}

// admit decides whether the directory may be adopted, and touches nothing.
func (a *adoption) admit() error {
	s := a.s
	if name, err := foreign(s.fs, s.dir); err != nil {
		return err
	} else if name != "" {
		return fmt.Errorf("%w: it holds %q, so it is no store; give the directory of a checkpoint", ErrFormat, name)
	}
	id, there, err := readIdentity(s.fs, s.dir)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%w: there is no %s, so it is no store; give the directory of a checkpoint",
			ErrFormat, identityFile)
	}
	a.id = id
	if a.seal, a.sealed, err = readSeal(s.fs, s.dir); err != nil {
		return err
	}
	switch {
	case id.checkpoint && !a.sealed:
		return fmt.Errorf("%w: its seal is missing, so it was never finished; take another one", ErrUnsealed)
	case id.checkpoint && a.seal.id != id.id:
		return fmt.Errorf("%w: its seal is that of another one; take another one", ErrUnsealed)
	case id.checkpoint, a.Unsealed, a.finished():
		return nil
	case id.copied(s.fs, s.dir):
		return fmt.Errorf("%w: it is a copy of store %v; if that was closed when it was copied or moved, "+
			"set Unsealed; if it was running, take a Checkpoint", ErrUnsealed, id.id)
	default:
		return fmt.Errorf("%w: it is store %v; Open it, or set Unsealed if it is an older state of that store",
			ErrUnsealed, id.id)
	}
}

// finished reports whether only the seal is left to remove.
func (a *adoption) finished() bool {
	return a.sealed && !a.id.checkpoint && a.seal.id != a.id.id && !a.id.copied(a.s.fs, a.s.dir)
}

func (a *adoption) make() error {
	s := a.s
	if err := s.openDB(true); err != nil {
		return err
	}
	adopted, err := a.record()
	if err != nil {
		return err
	}
	if err := s.loadRegistry(); err != nil {
		return err
	}
	if !adopted {
		if err := a.prove(); err != nil {
			return err
		}
		if err := a.rename(); err != nil {
			return err
		}
	}
	if err := writeIdentity(s.fs, s.dir, identity{id: s.record.id, inode: inodeOf(s.fs, s.dir)}); err != nil {
		return err
	}
	return a.unseal()
}

// record reads the store record, and reports whether step 2 was done before.
func (a *adoption) record() (adopted bool, err error) {
	s := a.s
	v, err := s.get([]byte{kindStore})
	if err != nil {
		return false, err
	}
	if v == nil {
		return false, corruptf("the store record is gone")
	}
	r, ok := parseStoreRecord(v)
	if !ok {
		return false, unparsed("the store record", v, storeRecordFormat)
	}
	adopted = r.wasAdoptedFrom(a.id.id)
	if !adopted && r.id != a.id.id {
		return false, corruptf("%s says %v, the store record %v", identityFile, a.id.id, r.id)
	}
	s.record, s.secret = r, r.secret
	return adopted, nil
}

// prove makes sure that what is there is what was sealed, or else, that all of
// it proves itself.
func (a *adoption) prove() error {
	s := a.s
	batches, _, err := s.tally()
	if err != nil {
		return err
	}
	if a.sealed && batches < a.seal.batches {
		return corruptf("the checkpoint was sealed with %d batches and holds %d", a.seal.batches, batches)
	}
	if a.sealed {
		return nil
	}
	for name, value := range s.names {
		n, err := s.newNamespace(name, value)
		if err != nil {
			return err
		}
		if err := n.load(false); err != nil {
			return err
		}
	}
	// Every block of every table has a checksum, which reading it checks.
	return s.scan(nil, func(_, _ []byte) error { return nil })
}

// rename gives the store its new identity.
func (a *adoption) rename() error {
	s := a.s
	r := s.record
	r.ancestors = append(slices.Clone(r.ancestors), r.id)
	random(r.id[:])
	err := s.fault.write("adopt the store", s.opts.CommitTimeout, func() error {
		w := s.db.NewBatch()
		must(w.Set([]byte{kindStore}, r.append(nil), nil))
		must(w.Delete([]byte{kindOpens}, nil))
		return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
	})
	if err == nil {
		s.record = r
	}
	return err
}

// unseal removes the seal, durably.
func (a *adoption) unseal() error {
	if !a.sealed {
		return nil
	}
	s := a.s
	if err := s.fs.Remove(s.fs.PathJoin(s.dir, sealFile)); err != nil {
		return err
	}
	return syncDir(s.fs, s.dir)
}
