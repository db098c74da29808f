package store

import "encoding/binary"

// decoder reads stored values. Past the end it returns zeros and turns bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || len(d.b) < n {
		d.bad, d.b = true, nil
		return make([]byte, max(0, min(n, 64)))
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte     { return d.bytes(1)[0] }
func (d *decoder) uint32() uint32 { return binary.BigEndian.Uint32(d.bytes(4)) }
func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.bytes(8)) }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) ledger() ledger {
	return ledger{n: d.uint64(), hi: d.uint64(), lo: d.uint64()}
}

// prefixed reads bytes that appendPrefixed wrote. They alias the value.
func (d *decoder) prefixed() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	return d.bytes(int(n))
}

func appendPrefixed(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func (d *decoder) position() Position {
	var p Position
	copy(p.TopicID[:], d.bytes(16))
	p.Partition, p.LeaderEpoch = int32(d.uint32()), int32(d.uint32())
	p.Offset = int64(d.uint64())
	return p
}

func appendPosition(dst []byte, p Position) []byte {
	dst = append(dst, p.TopicID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Partition))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.LeaderEpoch))
	return binary.BigEndian.AppendUint64(dst, uint64(p.Offset))
}
