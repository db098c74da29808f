package adapter

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Token returns an idempotency token for calls to other systems: the same for
// every copy of a message, on every partition, instance and attempt. It is a
// UUID (version 8, RFC 9562) made of the consumer group, the name of the topic
// and the ID by SHA-256, and tells nothing about them.
func Token(group, topic string, id []byte) string {
	b := appendPart([]byte("firstseen token 1\n"), group)
	b = appendPart(b, topic)
	return uuid(appendPart(b, id))
}

// outputID returns the ID of an output: the same each time it is sent, and
// different for every other output of the group. index counts the outputs of
// one record from 0.
func outputID(group string, topicID [16]byte, partition int32, offset int64, index int) string {
	const format = "firstseen output 1\n"
	b := appendPart(append(make([]byte, 0, 128), format...), group)
	b = append(b, topicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(partition))
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	b = binary.BigEndian.AppendUint64(b, uint64(index))
	return uuid(b)
}

// appendPart appends part with its length in front: no two sequences of parts
// give the same bytes.
func appendPart[T string | []byte](b []byte, part T) []byte {
	b = binary.AppendUvarint(b, uint64(len(part)))
	return append(b, part...)
}

// uuid returns the SHA-256 of b as the text of a UUID of version 8.
func uuid(b []byte) string {
	u := sha256.Sum256(b)
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	text := make([]byte, 0, 36)
	for i, part := range [][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}
