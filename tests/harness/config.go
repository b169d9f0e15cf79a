package harness

import "os"

// coverDirEnv names the folder where binaries built for coverage write their
// counters; without it the binaries are built plain.
const coverDirEnv = "STARK_E2E_COVERDIR"

func coverDir() string { return os.Getenv(coverDirEnv) }
