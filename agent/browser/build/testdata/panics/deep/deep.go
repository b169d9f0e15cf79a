// Package deep needs what the runtime knows of functions: how large their stacks are, and
// where pointers lie in them.
package deep

import (
	"runtime"
	"sort"
)

// Run panics after it has worked.
func Run() {
	done := make(chan int)
	for range 8 {
		go func() { done <- down(2000) }()
	}
	sum := 0
	for range 8 {
		sum += <-done
	}
	if sum != 8*2000 {
		panic("the sum is wrong")
	}
	sort.Slice([]int{2, 1}, func(int, int) bool { panic("as it should") })
}

func down(n int) int {
	if n == 0 {
		runtime.GC()
		return 0
	}
	kept := []int{n, 1, 2}
	sort.Slice(kept, func(i, j int) bool { return kept[i] < kept[j] })
	rest := down(n - 1)
	return rest + len(kept) - 2
}
