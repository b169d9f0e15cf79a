package api

import "time"

// RuntimeTag says on which runtimes a pack runs.
type RuntimeTag string

// The runtime tags. "isomorphic" is accepted on input as another word for universal.
const (
	TagNode      RuntimeTag = "node"
	TagBrowser   RuntimeTag = "browser"
	TagUniversal RuntimeTag = "universal"
)

// Fits reports whether a pack with this tag runs on a node of type t.
func (g RuntimeTag) Fits(t RuntimeType) bool {
	return g == TagUniversal || string(g) == string(t)
}

// Visibility says who may see and deploy a pack.
type Visibility string

// The visibilities.
const (
	VisibilityPrivate Visibility = "private"
	VisibilityPublic  Visibility = "public"
)

// PackStatus says whether a pack's bundle is there.
type PackStatus string

// The pack statuses.
const (
	PackPending PackStatus = "pending" // row made, bundle not yet stored and hashed
	PackReady   PackStatus = "ready"
)

// ModuleFormat is how a bundle exports its entry point.
type ModuleFormat string

// The module formats.
const (
	FormatCommonJS ModuleFormat = "cjs"
	FormatESM      ModuleFormat = "esm"
)

// MetadataUI is the key of a pack's metadata that says that the pack shows something in
// the tabs where it runs: true, or an object with the height in pixels, 60 to 2000.
const MetadataUI = "ui"

// Keys of a pack's metadata with a meaning for the scheduler.
const (
	MetadataMinNodeVersion       = "minNodeVersion"       // on nodes of type node: at least this version of Node.js
	MetadataRequiredCapabilities = "requiredCapabilities" // list: the node's capabilities.features must hold each
)

// MaxBundleBytes bounds a bundle.
const MaxBundleBytes = 50 << 20

// BundleBucket is the private Storage bucket that holds bundles.
const BundleBucket = "pack-bundles"

// Pack is a name, a version, a runtime tag and one immutable bundle.
type Pack struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	Version      string         `json:"version"`
	RuntimeTag   RuntimeTag     `json:"runtimeTag"`
	OwnerID      string         `json:"ownerId"`
	Visibility   Visibility     `json:"visibility"`
	Status       PackStatus     `json:"status"`
	Format       ModuleFormat   `json:"format"`
	BundlePath   string         `json:"bundlePath"` // key in BundleBucket: <owner>/<name>/<version>/<sha256>.js
	BundleSHA256 string         `json:"bundleSha256,omitempty"`
	BundleSize   int64          `json:"bundleSize"` // bytes
	Description  string         `json:"description,omitempty"`
	Metadata     map[string]any `json:"metadata"`
	CreatedAt    time.Time      `json:"createdAt"`
	UpdatedAt    time.Time      `json:"updatedAt"`

	// ResourceVersion changes with every change of the row; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// CreatePackRequest is the JSON body of POST /api/packs, or the form fields
// beside the file of its multipart form.
type CreatePackRequest struct {
	Name        string         `json:"name"`
	Version     string         `json:"version"`
	RuntimeTag  RuntimeTag     `json:"runtimeTag"`
	Visibility  Visibility     `json:"visibility,omitempty"` // default private
	Format      ModuleFormat   `json:"format,omitempty"`     // default cjs
	Description string         `json:"description,omitempty"`
	Metadata    map[string]any `json:"metadata,omitempty"`
	// BundleContent is the bundle itself, for callers that send plain JSON.
	BundleContent string `json:"bundleContent,omitempty"`
	// BundleSHA256 names a bundle that the caller has uploaded to BundleBucket
	// already, as <owner>/<name>/<version>/<sha256>.js. Its size and path may be
	// given too, and are then checked.
	BundleSHA256 string `json:"bundleSha256,omitempty"`
	BundleSize   int64  `json:"bundleSize,omitempty"`
	BundlePath   string `json:"bundlePath,omitempty"`
}

// UpdatePackRequest is the body of PATCH /api/packs/:id; absent fields stay.
type UpdatePackRequest struct {
	Description *string        `json:"description,omitempty"`
	Metadata    map[string]any `json:"metadata,omitempty"`
	Visibility  *Visibility    `json:"visibility,omitempty"`

	// ResourceVersion makes the change one of this version alone.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// PackQuery selects packs in a list.
type PackQuery struct {
	PageQuery
	RuntimeTag RuntimeTag
	Search     string // part of the name
	Name       string // exact
	Version    string // exact
	OwnerID    string
}

// PackVersion is one row of GET /api/packs/:name/versions.
type PackVersion struct {
	ID         string     `json:"id"`
	Version    string     `json:"version"`
	RuntimeTag RuntimeTag `json:"runtimeTag"`
	Latest     bool       `json:"latest"` // highest release by semver
	CreatedAt  time.Time  `json:"createdAt"`
}
