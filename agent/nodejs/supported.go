//go:build unix

package nodejs

// Supported tells why packs cannot be run on this platform; nil where they can.
func Supported() error { return nil }
