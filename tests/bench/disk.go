package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// page is about what a commit of the engine's database adds to its log.
	page = 4096
	// inMemory is what no disk does: an fsync that takes less writes to memory.
	inMemory = 30 * time.Microsecond
)

// disk measures what durability costs where the benchmarks keep their files.
type disk struct {
	file  *os.File
	syncs sample
}

func openDisk(dir string) (*disk, error) {
	file, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	return &disk{file: file}, nil
}

// measure appends a page, as the engine's database does with each commit, and waits until the disk has it.
func (d *disk) measure(times int) error {
	content := make([]byte, page)
	for range times {
		if _, err := d.file.Write(content); err != nil {
			return fmt.Errorf("measure the disk: %w", err)
		}
		began := time.Now()
		if err := d.file.Sync(); err != nil {
			return fmt.Errorf("measure the disk: %w", err)
		}
		d.syncs = append(d.syncs, time.Since(began))
	}
	return nil
}

func (d *disk) close() { d.file.Close() }
