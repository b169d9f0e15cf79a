package agent

import "errors"

// systemRandom is Config.Random where none is given.
func systemRandom([]byte) error { return errors.New("agent: Random must be given in a browser") }
