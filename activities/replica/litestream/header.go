package litestream

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/understudy-dr/understudy/activities/replica"
)

// The beginning of Litestream's files (format LTX1, big endian): four letters,
// then at these offsets the transactions and the time, in milliseconds since 1970.
const (
	headerSize   = 100
	magic        = "LTX1"
	offsetMin    = 16
	offsetMax    = 24
	offsetMillis = 32
)

// writtenAt reads when the last transaction of a file was taken from the database.
func writtenAt(ctx context.Context, store store, f file) (time.Time, error) {
	head, err := store.head(ctx, f.name, headerSize)
	if err != nil {
		return time.Time{}, err
	}
	at, err := parseHeader(head, f)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %s/%s: %w", replica.ErrDamaged, store, f.name, err)
	}
	return at, nil
}

func parseHeader(head []byte, f file) (time.Time, error) {
	if len(head) < headerSize || string(head[:len(magic)]) != magic {
		return time.Time{}, fmt.Errorf("it does not begin as Litestream's files do (%s)", magic)
	}
	first, last := txid(binary.BigEndian.Uint64(head[offsetMin:])), txid(binary.BigEndian.Uint64(head[offsetMax:]))
	if first != f.min || last != f.max {
		return time.Time{}, fmt.Errorf("it holds transactions %s to %s", first, last)
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(head[offsetMillis:]))).UTC(), nil
}
