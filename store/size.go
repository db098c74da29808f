package store

import "fmt"

// MaxBatchBytes is the largest Batch.Size that Update makes durable, 64 MB: a
// batch is one record of the log, and its bytes are in memory more than once.
const MaxBatchBytes = 64 << 20

// What stands beside the bytes of an ID, of state and of an output: keys, offsets
// and lengths, at their longest.
const (
	markerBytes = 32
	stateBytes  = 24
	outBytes    = 80
)

func (w stateWrite) size(key []byte) int { return stateBytes + len(key) + len(w.value) }

// Size returns how many bytes the batch has gathered: markers, state, outputs,
// and what is written around them. A caller that has more to do than fits into
// MaxBatchBytes, or into its memory, ends the batch by it and begins another:
// batches may be cut anywhere between two records. Once the batch has ended it
// is what it was.
func (b *Batch) Size() int { return b.size }

// fits refuses a batch that is too large for the log, or for the disk.
func (b *Batch) fits(brings bool) error {
	if b.size > MaxBatchBytes {
		return fmt.Errorf("%w: namespace %q, %d bytes of at most %d; cut it by Batch.Size",
			ErrBatchTooLarge, b.n.name, b.size, MaxBatchBytes)
	}
	var err error
	if brings {
		err = b.n.s.disk.spend(int64(b.size))
	} else {
		err = b.n.s.disk.relief()
	}
	if err != nil {
		return fmt.Errorf("namespace %q: %w", b.n.name, err)
	}
	return nil
}
