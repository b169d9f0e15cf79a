//go:build !js

package agent

import "crypto/rand"

// systemRandom is Config.Random where none is given.
func systemRandom(b []byte) error {
	_, err := rand.Read(b)
	return err //nolint:wrapcheck // it never fails: crypto/rand ends the program instead
}
