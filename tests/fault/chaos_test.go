package fault

import "flag"

var long = flag.Bool("long", false, "pull cables for as long as the real times of a cluster say: minutes")
