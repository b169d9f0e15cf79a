//go:build unix

package nodejs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzFrame reads what comes from a host, whose process belongs to the pack: it may
// write to the control channel itself.
func FuzzFrame(f *testing.F) {
	frame := func(body string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	for _, seed := range [][]byte{
		{},
		{0},
		{0, 0, 0, 0},
		{0xff, 0xff, 0xff, 0xff},
		{0x01, 0, 0, 1},
		frame("{}"), frame("null"), frame("["), frame(`"x"`), frame(`{"t":"warm"}`),
		frame(`{"t":"out","id":"a","lines":[{"l":"x"}],"dropped":-1}`), frame(`{"t":"exit","id":"a","code":1e99,"reason":"\u0000"}`), frame("{\"t\":\"\xff\"}"),
		append(frame(`{"t":"ready","id":"a"}`), frame(`{"t":"pulse","delayMs":-1}`)...), frame(`{"t":"a","t":"b"}`)[:6],
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReader(bytes.NewReader(data))
		read := 0
		for {
			_, err := readFrame(in)
			if err != nil {
				return // ends the host
			}
			if read++; read*4 > len(data) {
				t.Fatalf("%d frames are read of %d bytes", read, len(data))
			}
		}
	})
}
