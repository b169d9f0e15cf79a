package main

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// pclntabMagic begins the table by which Go's runtime finds functions (debug/gosym).
var pclntabMagic = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}

var errUnknownLayout = errors.New("this Go lays its table of functions out in another way")

// ours begins the names of functions and files that are ours; the build trims what is
// before it in a file's.
var ours = []byte("github.com/stark-orchestrator/")

// withoutNames blanks the names of functions in a WebAssembly program of Go, and those of
// files that are not ours, with their lines. Only tracebacks show them, and those keep
// file and line of what is ours. The tables keep their places, so nothing else changes.
func withoutNames(wasm []byte) error {
	segments, err := dataSegments(wasm)
	if err != nil {
		return err
	}
	last := segments[len(segments)-1]
	memory := make([]byte, last.address+len(last.content)) // as it is when the program starts
	for _, s := range segments {
		copy(memory[s.address:], s.content)
	}
	at := bytes.Index(memory, pclntabMagic)
	const header = 8 + 8*8 // magic, then words
	if at < 0 || len(memory) < at+header {
		return errUnknownLayout
	}
	// two counts and the start of the text, then where the names, the units, the files and
	// what follows them begin
	word := func(n int) int { return int(binary.LittleEndian.Uint64(memory[at+8+8*n:])) } //nolint:gosec // checked below
	names, units, files, rest, table := at+word(3), at+word(4), at+word(5), at+word(6), at+word(7)
	if names <= at || units <= names || files <= units || rest <= files || table <= rest || table+8*word(0) > len(memory) ||
		!bytes.HasPrefix(memory[names:], []byte("go:buildid\x00")) || !bytes.Contains(memory[files:rest], []byte(".go\x00")) {
		return errUnknownLayout
	}
	lines := functions{memory: memory, names: names, tables: rest, start: table, count: word(0)}
	if err := lines.withoutLines(segments); err != nil {
		return err
	}
	blank(segments, names, units)
	for from := files; from < rest; {
		name, _, _ := bytes.Cut(memory[from:rest], []byte{0})
		if !bytes.HasPrefix(name, ours) {
			blank(segments, from, from+len(name))
		}
		from += len(name) + 1
	}
	return nil
}

// blank clears memory from one address to before another.
func blank(segments []segment, from, to int) {
	for _, s := range segments {
		begin, end := max(from, s.address), min(to, s.address+len(s.content))
		if begin < end {
			clear(s.content[begin-s.address : end-s.address])
		}
	}
}

// segment is a piece of the memory that a program starts with; content lies in the program.
type segment struct {
	address int
	content []byte
}

// dataSegments reads the data section: active segments of memory 0, in ascending order.
func dataSegments(wasm []byte) ([]segment, error) {
	const dataSection, magic = 11, 8
	r := reader{rest: wasm[min(magic, len(wasm)):]}
	for len(r.rest) > 0 && r.err == nil {
		id := r.bytes(1)
		body := r.bytes(r.number())
		if r.err == nil && id[0] == dataSection {
			return readSegments(reader{rest: body})
		}
	}
	return nil, errUnknownLayout
}

func readSegments(r reader) ([]segment, error) {
	var out []segment
	for range r.number() {
		if kind := r.number(); kind != 0 || !bytes.Equal(r.bytes(1), []byte{0x41}) { // i32.const
			return nil, errUnknownLayout
		}
		address := r.number() // signed, and never negative here: the bit of the sign is clear
		if !bytes.Equal(r.bytes(1), []byte{0x0b}) {
			return nil, errUnknownLayout
		}
		out = append(out, segment{address, r.bytes(r.number())})
	}
	if r.err != nil || len(out) == 0 {
		return nil, errUnknownLayout
	}
	return out, nil
}

// reader reads LEB128 numbers and bytes until its first error.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) number() int {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > 1<<31 {
		r.err = errUnknownLayout
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n > len(r.rest) {
		r.err = errUnknownLayout
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
