package api

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// NewID makes a UUID of version 7, so that keys sort by time. Ids are no secrets, so
// the generator that the runtime seeds from the browser's will do; package uuid would
// bring crypto/rand and 100 KB into each tab.
func NewID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16|rand.Uint64()&0xfff|0x7000)
	binary.BigEndian.PutUint64(b[8:], rand.Uint64()&^(3<<62)|1<<63)
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
