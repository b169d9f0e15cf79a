package main

import (
	"bytes"
	"encoding/binary"
)

// The fields of a function in the table of functions (runtime._func), by their places.
const (
	funcNameOff   = 4
	funcStack     = 16 // where its table of stack sizes begins
	funcFile      = 20 // of files
	funcLine      = 24 // of lines
	funcTables    = 28 // how many further tables it has, which stand behind it
	funcUnit      = 32
	funcStartLine = 36
	funcSize      = 44 // of what every function has
)

// functions is the table of functions in the memory that a program starts with.
type functions struct {
	memory               []byte
	names, tables, start int // addresses: of the names, of the tables, of the functions' own table
	count                int
}

// withoutLines blanks which line and file an instruction of other people's functions is
// of, and where their names were: a table of zeros means "not known". What a function
// shares with others stays.
func (f functions) withoutLines(segments []segment) error {
	kept, dropped := map[int]bool{0: true}, map[int]bool{}
	var fields []int
	for i := range f.count {
		at := f.start + f.word(f.start+8*i+4)
		if at < f.start || at+funcSize > len(f.memory) {
			return errUnknownLayout
		}
		fields = append(fields, at+funcNameOff, at+funcStartLine)
		kept[f.word(at+funcStack)] = true
		further := f.word(at + funcTables)
		if further > 16 || at+funcSize+4*further > len(f.memory) {
			return errUnknownLayout
		}
		for n := range further {
			kept[f.word(at+funcSize+4*n)] = true
		}
		name := f.memory[f.names+f.word(at+funcNameOff):]
		lines := dropped
		if bytes.HasPrefix(name, ours) {
			lines = kept
		} else {
			fields = append(fields, at+funcFile, at+funcLine, at+funcUnit)
		}
		lines[f.word(at+funcFile)], lines[f.word(at+funcLine)] = true, true
	}
	for table := range dropped {
		if kept[table] {
			continue
		}
		end, err := f.end(f.tables + table)
		if err != nil {
			return err
		}
		blank(segments, f.tables+table, end)
	}
	for _, at := range fields {
		blank(segments, at, at+4)
	}
	return nil
}

func (f functions) word(at int) int { return int(binary.LittleEndian.Uint32(f.memory[at:])) }

// end gives the address behind a table: pairs of numbers, until a first one is zero that
// is not the table's first.
func (f functions) end(at int) (int, error) {
	for first := true; ; first = false {
		value, n := binary.Uvarint(f.memory[at:min(at+10, len(f.memory))])
		if n <= 0 {
			return 0, errUnknownLayout
		}
		at += n
		if value == 0 && !first {
			return at, nil
		}
		if _, n = binary.Uvarint(f.memory[at:min(at+10, len(f.memory))]); n <= 0 {
			return 0, errUnknownLayout
		}
		at += n
	}
}
