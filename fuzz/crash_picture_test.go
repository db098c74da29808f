package fuzz

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/firstseen/firstseen/store"
)

// batchModel is a batch in the model.
type batchModel struct {
	*spaceModel              // a copy, which becomes the truth with commit
	before      spacePicture // the namespace when the batch began
	sequence    uint64
}

func (w *writer) begin(space int) *batchModel {
	c := *w.spaces[space]
	c.law = cloneLaw(c.law)
	c.picture.state, c.picture.pending = maps.Clone(c.picture.state), slices.Clone(c.picture.pending)
	if c.picture.state == nil {
		c.picture.state = map[string]string{}
	}
	b := &batchModel{spaceModel: &c, before: w.spaces[space].picture}
	b.sequence = b.before.status.Sequence + 1
	return b
}

// commit makes the batch the truth.
func (b *batchModel) commit(m *spaceModel) {
	st := &b.picture.status
	st.Sequence = b.sequence
	st.Position, st.Clock, st.Coverage = b.law.pos, instant(b.law.clock), b.law.coverage()
	st.Timeline = b.law.timeline()
	st.Pending, st.Ages = len(b.picture.pending), b.law.ages
	// The spans of segments are bounded by the bucket width and W/16; they go
	// with the batch that begins after their newest marker has left the window.
	// The clock may go back during its first 8 times only.
	b.picture.most = uint64(len(b.firsts))
	if w := b.law.window; !w.IsForever() {
		edge := min(m.law.clock, b.law.clock) - w.Millis() - b.widest/8 - b.spread
		b.picture.most = 0
		for _, f := range b.firsts {
			if f == 0 || f > edge {
				b.picture.most++
			}
		}
	}
	*m = *b.spaceModel
}

func (b *batchModel) record(id []byte, t int64) store.Record {
	r := store.Record{ID: id, Origin: b.log}
	if t != 0 {
		r.At = time.UnixMilli(t)
	}
	return r
}

func (b *batchModel) do(id []byte, t int64, keys [3]string, outs []string) crashAct {
	return b.again(crashAct{rec: b.record(id, t), keys: keys, outs: outs})
}

// again decides the record of an act, whose handler succeeds this time.
func (b *batchModel) again(a crashAct) crashAct {
	a.kind = actDo
	a.want = playLaw(b.law, a, a.want)
	b.log.Offset++
	if a.want.Verdict == store.New || a.want.Action == store.Accept {
		b.firsts = append(b.firsts, max(b.law.clock, b.law.largest))
	}
	if handled(a.want) {
		b.handle(a)
	}
	return a
}

func (b *batchModel) pass(t int64, keys [3]string, outs []string) crashAct {
	a := crashAct{kind: actPass, rec: b.record(nil, t), keys: keys, outs: outs}
	playLaw(b.law, a, a.want)
	b.log.Offset++
	b.handle(a)
	return a
}

// fail returns an act whose handler fails, unless the record is a duplicate,
// for which no handler is called.
func (b *batchModel) fail(
	kind actKind, id []byte, t int64, keys [3]string, outs []string,
) (crashAct, bool) {
	a := crashAct{kind: kind, rec: b.record(id, t), keys: keys, outs: outs}
	a.want = cloneLaw(b.law).do(string(id), a.rec.At, a.rec.Origin)
	return a, handled(a.want)
}

// handled reports whether a handler is called.
func handled(d store.Decision) bool {
	return d.Verdict != store.Duplicate && d.Action != store.Drop
}

func (b *batchModel) replay(id []byte) crashAct {
	a := crashAct{kind: actReplay, rec: b.record(id, b.now)}
	a.rec.Origin.Offset--
	return a
}

func (b *batchModel) skip(to int64) crashAct {
	b.log.Offset = to
	if b.law.pos.TopicID != b.log.TopicID { // what was known of the other log goes
		st := &b.picture.status
		st.LastOffset, st.Fingerprint, st.Committed = -1, 0, nil
	}
	a := crashAct{kind: actSkip, pos: b.log}
	playLaw(b.law, a, a.want)
	return a
}

func (b *batchModel) settle(seq uint64) crashAct {
	b.picture.pending = slices.DeleteFunc(b.picture.pending, func(o store.Output) bool {
		return o.Sequence <= seq && o.Sequence < b.sequence
	})
	return crashAct{kind: actSettle, seq: seq}
}

func (b *batchModel) committed(tag string) crashAct {
	b.picture.status.Committed = &store.Committed{Offset: b.log.Offset, LeaderEpoch: 7, Tag: tag}
	return crashAct{kind: actCommitted, pos: b.log, outs: []string{tag}}
}

func (b *batchModel) remember(print uint64) crashAct {
	b.picture.status.LastOffset, b.picture.status.Fingerprint = b.log.Offset, print
	return crashAct{kind: actRemember, pos: b.log, seq: print}
}

// handle is the handler: a number, a value, a deletion, and outputs.
func (b *batchModel) handle(a crashAct) {
	for i, o := range a.outs {
		b.picture.pending = append(b.picture.pending, store.Output{
			Origin: a.rec.Origin, Sequence: b.sequence, Index: i, Data: []byte(o),
		})
	}
	if a.want.Action == store.DeadLetter {
		return
	}
	n := uint64(0)
	if v, ok := b.picture.state[a.keys[0]]; ok {
		n = binary.BigEndian.Uint64([]byte(v))
	}
	b.picture.state[a.keys[0]] = string(binary.BigEndian.AppendUint64(nil, n+1))
	b.picture.state[a.keys[1]] = valueOf(a.rec)
	delete(b.picture.state, a.keys[2])
	b.picture.status.HasState = true
}

// valueOf is what the handler keeps of a record.
func valueOf(r store.Record) string { return fmt.Sprintf("%v %.20q", r.Origin, r.ID) }
