package adapter

import (
	"cmp"
	"encoding/binary"
)

// Where things stand in a batch of records, by Kafka's protocol.
const (
	batchLength  = 8  // of what follows it, 4 bytes
	batchStart   = 12 // of what the length counts
	batchMagic   = 16
	batchRecords = 57 // how many, 4 bytes
	batchHeader  = 61
)

// trim cuts what Kafka sent to the first batches whose records take about chunkBytes
// once they are unpacked, one batch at least. Bytes alone do not bound that: records
// that are much alike take a hundredth of the room on their way, or less. What is cut
// off is asked for again, so less is asked for from then on.
func (r *reader) trim(sent []byte) []byte {
	most := chunkBytes / cmp.Or(r.each, recordBytes+1<<10)
	at, records := 0, 0
	for len(sent)-at >= batchHeader && sent[at+batchMagic] == 2 {
		end := at + batchStart + int(binary.BigEndian.Uint32(sent[at+batchLength:]))
		records += int(binary.BigEndian.Uint32(sent[at+batchRecords:]))
		if at > 0 && records > most {
			r.most = max(leastBytes, int32(at))
			return sent[:at]
		}
		if end > len(sent) { // the last one is cut off already
			break
		}
		at = end
	}
	return sent
}
