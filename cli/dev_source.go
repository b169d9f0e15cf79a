package cli

import (
	"context"
	"crypto/sha256"
	_ "embed" // the built-in pack is part of the program
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/cli/bundle"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

//go:embed hello/index.js
var helloSource []byte

// devSource is what `dev` deploys.
type devSource struct {
	registration
	runsOn string
	inputs []string         // files to watch
	stamps map[string]stamp // of the inputs, as they were read
}

// loadSource bundles a folder, or gives the built-in pack.
func loadSource(folder string) (devSource, error) {
	if folder == "" {
		sum := sha256.Sum256(helloSource)
		return devSource{registration: registration{code: helloSource, sidecar: sidecar{
			Name: "hello", Version: "1.0.0", RuntimeTag: api.TagUniversal, Format: api.FormatCommonJS,
			SHA256: hex.EncodeToString(sum[:]), Description: "The built-in pack of stark dev",
		}}, runsOn: "runs on: node, browser"}, nil
	}
	begin := time.Now()
	r, err := bundle.Bundle(folder)
	if err != nil {
		return devSource{}, err
	}
	read := stamps(r.Inputs)
	for f, s := range read {
		if s.changed.After(begin) { // perhaps saved after it was read: look again
			read[f] = stamp{}
		}
	}
	return devSource{
		registration: registration{sidecar: sidecarOf(r), code: r.Code}, runsOn: runsOn(r), inputs: r.Inputs, stamps: read,
	}, nil
}

// publish registers a bundle. Versions never change: one that is taken by other
// bytes is followed by <version>-dev.1, -dev.2 and so on; the same bytes are not
// registered twice.
func (d *dev) publish(ctx context.Context, reg registration) (api.Pack, error) {
	versions, err := d.client.PackVersions(ctx, reg.Name)
	if err != nil && fault.CodeOf(err) != fault.NotFound {
		return api.Pack{}, err
	}
	base := reg.Version
	newest, number := d.newest(versions, base)
	if newest != "" {
		p, err := d.client.GetPack(ctx, newest)
		if err != nil {
			return api.Pack{}, err
		}
		if p.BundleSHA256 == reg.SHA256 && p.Status == api.PackReady {
			return p, nil
		}
		number++
	}
	const tries = 5
	for range tries {
		if number > 0 {
			reg.Version = devVersion(base, number)
		}
		p, err := d.client.CreatePack(ctx, reg.request(), reg.bundle(nil))
		if foreignName(err) {
			return p, withHint(err, "choose another name in %s", bundle.ManifestName)
		}
		if fault.CodeOf(err) != fault.Conflict {
			return p, err
		}
		number++ // a pending or foreign version that is not listed
	}
	return api.Pack{}, fault.New(fault.Conflict, "no free version after %s of pack %s: raise the version in %s", reg.Version, reg.Name, bundle.ManifestName)
}

// newest gives the id and the number of the newest version made of base; 0 is
// base itself.
func (*dev) newest(versions []api.PackVersion, base string) (id string, number int) {
	number = -1
	for _, v := range versions {
		n := 0
		if v.Version != base {
			text, ok := strings.CutPrefix(v.Version, devVersion(base, 0)[:len(devVersion(base, 0))-1])
			var err error
			if n, err = strconv.Atoi(text); !ok || err != nil || n < 1 {
				continue
			}
		}
		if n > number {
			id, number = v.ID, n
		}
	}
	return id, max(number, 0)
}

// devVersion makes a pre-release of a version.
func devVersion(base string, n int) string {
	base, _, _ = strings.Cut(base, "+")
	separator := "-"
	if strings.Contains(base, "-") {
		separator = "."
	}
	return fmt.Sprintf("%s%sdev.%d", base, separator, n)
}

// watchEvery is how often the files of a pack are looked at.
const watchEvery = 300 * time.Millisecond

// stamp is what changes when a file is saved.
type stamp struct {
	size    int64
	changed time.Time
}

func stamps(files []string) map[string]stamp {
	out := make(map[string]stamp, len(files))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			out[f] = stamp{info.Size(), info.ModTime()}
		}
	}
	return out
}
