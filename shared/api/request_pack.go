package api

import (
	"strings"
	"unicode/utf8"

	"github.com/stark-orchestrator/stark/shared/fault"
)

const tagIsomorphic RuntimeTag = "isomorphic"

// Normalize gives the tag's own spelling: isomorphic is universal.
func (g RuntimeTag) Normalize() RuntimeTag {
	if g == tagIsomorphic {
		return TagUniversal
	}
	return g
}

// Validate fills in defaults, spells the runtime tag as the database does, and
// reports every fault.
func (r *CreatePackRequest) Validate() error {
	var c checker
	r.RuntimeTag = r.RuntimeTag.Normalize()
	if r.Visibility == "" {
		r.Visibility = VisibilityPrivate
	}
	if r.Format == "" {
		r.Format = FormatCommonJS
	}
	c.packName("name", r.Name)
	c.semver("version", r.Version)
	if c.required("runtimeTag", string(r.RuntimeTag)) {
		oneOf(&c, "runtimeTag", r.RuntimeTag, TagNode, TagBrowser, TagUniversal)
	}
	oneOf(&c, "visibility", r.Visibility, VisibilityPrivate, VisibilityPublic)
	oneOf(&c, "format", r.Format, FormatCommonJS, FormatESM)
	c.description(r.Description)
	c.packMetadata("metadata", r.Metadata)
	if len(r.BundleContent) > MaxBundleBytes {
		c.add("bundleContent", fault.FieldTooLarge, "must be at most %d bytes", MaxBundleBytes)
	}
	c.bundleReference(r)
	return c.err()
}

func (c *checker) bundleReference(r *CreatePackRequest) {
	switch {
	case r.BundleSHA256 == "":
		if r.BundleSize != 0 || r.BundlePath != "" {
			c.add("bundleSha256", fault.FieldRequired, "is required beside bundleSize and bundlePath")
		}
	case r.BundleContent != "":
		c.add("bundleSha256", fault.FieldNotAllowed, "must not be given beside bundleContent")
	case !isSHA256(r.BundleSHA256):
		c.add("bundleSha256", fault.FieldInvalidFormat, "must be 64 hexadecimal digits in small letters")
	case r.BundleSize != 0:
		c.intRange("bundleSize", r.BundleSize, 1, MaxBundleBytes)
	}
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Validate reports every fault.
func (r *UpdatePackRequest) Validate() error {
	var c checker
	if r.Description != nil {
		c.description(*r.Description)
	}
	c.packMetadata("metadata", r.Metadata)
	if r.Visibility != nil {
		oneOf(&c, "visibility", *r.Visibility, VisibilityPrivate, VisibilityPublic)
	}
	c.resourceVersion(r.ResourceVersion)
	return c.err()
}

// packMetadata also checks env, which holds defaults for the environment of the
// pack's pods.
func (c *checker) packMetadata(path string, m map[string]any) {
	c.metadata(path, m)
	c.demands(path, m)
	switch defaults := m["env"].(type) {
	case nil:
	case map[string]string:
		c.env(path+".env", defaults)
	case map[string]any:
		env := make(map[string]string, len(defaults))
		for name, v := range defaults {
			text, ok := v.(string)
			if !ok {
				c.add(path+".env."+name, fault.FieldInvalidType, "must be a string")
			}
			env[name] = text
		}
		c.env(path+".env", env)
	default:
		c.add(path+".env", fault.FieldInvalidType, "must be an object of strings")
	}
}

// demands checks what the scheduler reads, and tabs.
func (c *checker) demands(path string, m map[string]any) {
	if v, ok := m[MetadataUI]; ok {
		c.shown(path+"."+MetadataUI, v)
	}
	if v, ok := m[MetadataMinNodeVersion]; ok {
		if s, isText := v.(string); !isText || !ValidVersion(strings.TrimPrefix(s, "v")) {
			c.add(path+"."+MetadataMinNodeVersion, fault.FieldInvalidFormat, "must be a version such as 20.0.0")
		}
	}
	v, ok := m[MetadataRequiredCapabilities]
	if !ok {
		return
	}
	at := path + "." + MetadataRequiredCapabilities
	list, isList := v.([]any)
	if !isList {
		c.add(at, fault.FieldInvalidType, "must be a list of strings")
		return
	}
	c.entries(at, len(list), maxListEntries)
	for i, one := range list {
		if s, isText := one.(string); !isText || s == "" {
			c.add(index(at, i), fault.FieldInvalidType, "must be a string that is not empty")
		}
	}
}

// shown checks what a pack says that shows something.
func (c *checker) shown(path string, v any) {
	const lowest, highest = 60, 2000
	m, isObject := v.(map[string]any)
	if _, isFlag := v.(bool); !isFlag && !isObject {
		c.add(path, fault.FieldInvalidType, "must be true, or an object with a height")
	}
	height, ok := m["height"]
	if n, isNumber := height.(float64); ok && (!isNumber || n < lowest || n > highest) {
		c.add(path+".height", fault.FieldOutOfRange, "must be %d to %d pixels", lowest, highest)
	}
}

// Validate clamps the page and reports every fault of the filters.
func (q *PackQuery) Validate() error {
	var c checker
	q.PageQuery = q.Normalize()
	q.RuntimeTag = q.RuntimeTag.Normalize()
	q.OwnerID = strings.ToLower(q.OwnerID) // as it is kept
	if q.RuntimeTag != "" {
		oneOf(&c, "runtimeTag", q.RuntimeTag, TagNode, TagBrowser, TagUniversal)
	}
	if q.OwnerID != "" {
		c.uuid("ownerId", q.OwnerID)
	}
	c.search(q.Search)
	return c.err()
}

func (c *checker) description(v string) {
	if utf8.RuneCountInString(v) > maxDescription {
		c.add("description", fault.FieldTooLong, "must be at most %d characters", maxDescription)
	}
}

func (c *checker) search(v string) {
	const maxSearch = 256
	c.tooLong("search", v, maxSearch)
}
