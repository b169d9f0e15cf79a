package storage

import (
	"regexp"
	"strconv"
	"strings"
)

// maxKeyBytes is S3's limit on a key, which hosted Supabase inherits.
const maxKeyBytes = 1024

const maxBucketName = 100

var (
	keyPattern    = regexp.MustCompile(`^[A-Za-z0-9_/!\-.*'() &$@=;:+,?]+$`)
	bucketPattern = regexp.MustCompile(`^[A-Za-z0-9_!\-.*'() &$@=;:+,?]+$`)
	sizePattern   = regexp.MustCompile(`(?i)^([0-9]+(?:\.[0-9]+)?)(gb|mb|kb|b)$`)
	mimePattern   = regexp.MustCompile(`^[^/\s]+/[^/\s]+$`)
)

func checkKey(key string) error {
	if len(key) > maxKeyBytes || !keyPattern.MatchString(key) {
		return invalidKey(key)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return invalidKey(key)
		}
	}
	return nil
}

func checkBucketName(name string) error {
	if len(name) > maxBucketName || !bucketPattern.MatchString(name) || strings.TrimSpace(name) != name {
		return invalidBucketName()
	}
	return nil
}

// parseSize reads "20MB"; units are decimal, as on the real server.
func parseSize(s string) (int64, error) {
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, refuse(400, "InvalidRequest", "InvalidRequest",
			"Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n > 1e9 {
		return 0, tooLarge()
	}
	unit := map[string]float64{"gb": 1e9, "mb": 1e6, "kb": 1e3, "b": 1}[strings.ToLower(m[2])]
	return int64(n * unit), nil
}

// allowsMIME compares as the real server does: exactly, except that a listed
// subtype of * stands for all of its type. An empty list allows everything.
func allowsMIME(allowed []string, mime string) bool {
	if len(allowed) == 0 {
		return true
	}
	kind, _, ok := strings.Cut(mime, "/")
	if !ok {
		return false
	}
	for _, a := range allowed {
		if a == mime || a == "*/*" || a == kind+"/*" {
			return true
		}
	}
	return false
}
