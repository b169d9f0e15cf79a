//go:build unix && !linux

package nodejs

// Without /proc, only the process group of a host is killed: a child that a pack has
// put into a session of its own outlives it.

func forked(int) bool { return false }

func descendants(int) []int { return nil }

func killStrays(string) {}
