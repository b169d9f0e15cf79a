package api

// Millicores is an amount of CPU in thousandths of a core. JSON output is an
// integer; input may also be a Kubernetes quantity such as "500m" or "2".
type Millicores int64

// Mebibytes is an amount of memory or storage in MiB. JSON output is an
// integer; input may also be a Kubernetes quantity such as "512Mi" or "1Gi".
type Mebibytes int64
