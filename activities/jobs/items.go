package jobs

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// block is how much of a manifest is read at once, in bytes: some pages.
const block = 1 << 20

// Items reads a job's manifest from a position on, some items at a time. It holds
// no connection between calls. It is for one goroutine.
type Items struct {
	store *Store
	job   Job
	at    Position // of the next item
	buf   []byte   // what was read and not yet returned
	read  int64    // the byte behind buf
	first int64    // the item to begin with, which may have to be found by counting
	doubt bool     // whether a line begins where the position says
}

// Items begins to read at a position, as a head names it.
func (s *Store) Items(job Job, from Position) *Items {
	i := &Items{store: s, job: job, at: from, read: from.Byte, first: from.Item, doubt: from.Byte > 0 && from.Byte < job.Manifest.Bytes}
	if from.Byte == 0 {
		i.at.Item = 0
	}
	return i
}

// Next returns the next items, at most n; none with io.EOF at the end. A manifest
// that is not as long as the job says, or a position inside of a line, is ErrTorn.
// After ErrUnavailable the next call goes on where it was.
func (i *Items) Next(ctx context.Context, n int) ([]Item, error) {
	if err := i.begin(ctx); err != nil {
		return nil, err
	}
	var items []Item
	for len(items) < n {
		line, err := i.line(ctx)
		if err != nil && len(items) > 0 {
			return items, nil // the next call meets the error again
		}
		if err == io.EOF && i.at.Item != i.job.Manifest.Items {
			return nil, torn(i.job.manifestKey(), "it has %d items, not %d", i.at.Item, i.job.Manifest.Items)
		}
		if err != nil {
			return nil, err
		}
		item := parseItem(line, i.job.Base)
		item.Index = i.at.Item
		i.at.Item++
		item.After = i.at
		items = append(items, item)
	}
	return items, nil
}

// begin makes sure of the first item's place.
func (i *Items) begin(ctx context.Context) error {
	for i.at.Item < i.first {
		if _, err := i.line(ctx); err != nil {
			return fmt.Errorf("find item %d: %w", i.first, err)
		}
		i.at.Item++
	}
	if !i.doubt {
		return nil
	}
	before, err := i.store.read(ctx, i.job.manifestKey(), Span{Offset: i.at.Byte - 1, Length: 1})
	if err != nil {
		return err
	}
	if string(before) != "\n" {
		return torn(i.job.ID+"/"+headName, "byte %d of the manifest is not where a line begins", i.at.Byte)
	}
	i.doubt = false
	return nil
}

// line returns the next line that is not blank, and moves on behind it.
func (i *Items) line(ctx context.Context) ([]byte, error) {
	for {
		end := bytes.IndexByte(i.buf, '\n')
		atEnd := i.read >= i.job.Manifest.Bytes
		switch {
		case end >= 0:
			end++
		case len(i.buf) > MaxLine:
			return nil, torn(i.job.manifestKey(), "item %d is longer than %d KiB", i.at.Item, MaxLine>>10)
		case !atEnd:
			if err := i.fill(ctx); err != nil {
				return nil, err
			}
			continue
		case len(i.buf) == 0:
			return nil, io.EOF
		default:
			end = len(i.buf)
		}
		line := trim(i.buf[:end], i.at.Byte == 0)
		i.buf = i.buf[end:]
		i.at.Byte += int64(end)
		if len(line) > 0 {
			return bytes.Clone(line), nil
		}
	}
}

// fill reads one more block.
func (i *Items) fill(ctx context.Context) error {
	length := min(block, i.job.Manifest.Bytes-i.read)
	more, err := i.store.read(ctx, i.job.manifestKey(), Span{Offset: i.read, Length: length})
	if err != nil {
		return err
	}
	if int64(len(more)) != length {
		return torn(i.job.manifestKey(), "it ends at byte %d, not %d", i.read+int64(len(more)), i.job.Manifest.Bytes)
	}
	i.buf = append(bytes.Clone(i.buf), more...)
	i.read += length
	return nil
}
