package store

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// untilAwaited returns once somebody waits for the readers of an index, of whom
// the caller is one.
func untilAwaited(x *segments) error {
	for begun := time.Now(); x.mu.TryRLock(); runtime.Gosched() {
		x.mu.RUnlock()
		if time.Since(begun) > 10*time.Second {
			return errors.New("nobody waits for the readers of the index")
		}
	}
	return nil
}

// A batch that drops a shared table deletes its pages, and what it deletes is gone
// for readers before the batch is durable. So it is not even begun to be written
// while somebody looks an ID up, who has seen the segment and is about to ask for
// its pages: to miss one is damage elsewhere.
func TestShare_LookupBesideADrop(t *testing.T) {
	s, err := open("store", &Options{Logger: quiet(), Now: func() time.Time { return t0.Add(24 * time.Hour) }},
		seams{fs: vfs.NewMem()})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	accept(t, n, 0, 500, 0)
	require.NoError(t, n.own())
	require.Equal(t, 1, shareNow(t, n, 1))
	n.disown()
	require.NoError(t, n.update(func(b *Batch) error { return b.advance(t0.Add(3 * time.Hour)) }, false))

	// The reader comes when the drop is planned, and leaves when the batch waits.
	reads, read := make(chan struct{}), make(chan error, 1)
	require.NoError(t, n.update(func(b *Batch) error {
		require.Len(t, b.n.index.(*segments).batch.drops, 1)
		go func() {
			read <- n.look(func(p *picture) error {
				close(reads)
				if err := untilAwaited(p.index); err != nil {
					return err
				}
				for range 20_000 { // a write that goes on beside this one comes first
					runtime.Gosched()
				}
				id := keyed(appendIdent(nil, fmtID(7)), s.secret)
				f := inquiry{picture: p}
				var maybes []maybe
				f.inMemory(id, &maybes)
				var q prober
				defer q.close()
				if err := f.inPages(&q, id, maybes); err != nil {
					return err
				}
				if !f.found || f.read != 1 {
					return errors.New("it was not found in its page")
				}
				return nil
			})
		}()
		<-reads
		return b.drop()
	}, false))
	require.NoError(t, <-read)
	require.Zero(t, count(t, s, kindShared))
	_, found, err := n.Lookup(fmtID(7))
	require.NoError(t, err)
	require.False(t, found)
}
