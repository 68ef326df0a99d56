package libvirt

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// seedImage is a NoCloud seed: a small ISO 9660 file system called CIDATA with
// user-data and meta-data. Linux shows such names in small letters.
func seedImage(instance, userData string) []byte {
	return isoImage("CIDATA", map[string]string{
		"META-DATA": fmt.Sprintf("instance-id: %s\nlocal-hostname: understudy-%s\n", instance, instance[:8]),
		"USER-DATA": userData,
	}, []string{"META-DATA", "USER-DATA"})
}

const sector = 2048

// isoImage writes files into the root of an ISO 9660 file system. The names
// stand in their sorted order, as the format wants it.
func isoImage(label string, files map[string]string, order []string) []byte {
	const first = 20 // after 16 empty sectors: two descriptors, the path table, the root
	at, where := uint32(first), map[string]uint32{}
	for _, name := range order {
		where[name] = at
		at += uint32((len(files[name]) + sector - 1) / sector)
	}
	image := make([]byte, int(at)*sector)
	root := isoRecord("\x00", 19, sector, true)

	d := image[16*sector:]
	copy(d, "\x01CD001\x01")
	copy(d[8:], pad("LINUX", 32))
	copy(d[40:], pad(label, 32))
	both32(d[80:], at)
	both16(d[120:], 1)
	both16(d[124:], 1)
	both16(d[128:], sector)
	both32(d[132:], 10) // bytes of the path table
	binary.LittleEndian.PutUint32(d[140:], 18)
	copy(d[156:], root)
	for offset, length := range map[int]int{190: 128, 318: 128, 446: 128, 574: 128, 702: 37, 739: 37, 776: 37} {
		copy(d[offset:], pad("", length))
	}
	for _, offset := range []int{813, 830, 847, 864} {
		copy(d[offset:], "0000000000000000\x00")
	}
	d[881] = 1
	copy(image[17*sector:], "\xffCD001\x01")
	copy(image[18*sector:], "\x01\x00\x13\x00\x00\x00\x01\x00\x00\x00") // the root alone, at sector 19

	entries := append(append([]byte{}, root...), isoRecord("\x01", 19, sector, true)...)
	for _, name := range order {
		entries = append(entries, isoRecord(name+";1", where[name], uint32(len(files[name])), false)...)
		copy(image[int(where[name])*sector:], files[name])
	}
	copy(image[19*sector:], entries)
	return image
}

// isoRecord is an entry of a directory.
func isoRecord(name string, at, size uint32, dir bool) []byte {
	length := 33 + len(name)
	length += length % 2
	r := make([]byte, length)
	r[0] = byte(length)
	both32(r[2:], at)
	both32(r[10:], size)
	day := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	copy(r[18:], []byte{byte(day.Year() - 1900), 1, 1, 0, 0, 0, 0})
	if dir {
		r[25] = 2
	}
	both16(r[28:], 1)
	r[32] = byte(len(name))
	copy(r[33:], name)
	return r
}

// Numbers stand there twice, in both orders of bytes.
func both32(b []byte, n uint32) {
	binary.LittleEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], n)
}

func both16(b []byte, n uint16) {
	binary.LittleEndian.PutUint16(b, n)
	binary.BigEndian.PutUint16(b[2:], n)
}

func pad(text string, length int) string { return text + strings.Repeat(" ", length-len(text)) }
