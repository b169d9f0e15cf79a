package cli

import (
	"context"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// minPrefix is the shortest beginning of an id that is taken for one, so that a
// slip of the finger does not name a pod.
const minPrefix = 8

// podID gives the id that an argument means: a whole one, its beginning when no
// other pod begins so, either as `-o name` prints it, or the short name of the pod.
func podID(ctx context.Context, c *client.Client, arg string) (string, error) {
	text := strings.ToLower(strings.TrimPrefix(arg, podView().kind+"/"))
	if api.ValidID(text) {
		return text, nil
	}
	if len(text) < minPrefix {
		return "", withHint(fault.New(fault.Validation, "pod %q: want an id, or at least the first %d characters of one", arg, minPrefix), "`stark pod list` shows the ids")
	}
	found, seen := []string{}, 0
	named := strings.Contains(text, "-")
	if strings.Trim(text, "0123456789abcdef-") != "" && !named {
		return "", absent("pod", arg)
	}
	for number := 1; ; number++ {
		page, err := c.ListPods(ctx, api.PodQuery{PageQuery: api.PageQuery{Page: number, PageSize: api.MaxPageSize}})
		if err != nil {
			return "", err
		}
		for _, p := range page.Items {
			if strings.HasPrefix(p.ID, text) || named && podName(p) == text {
				found = append(found, p.ID)
			}
		}
		if seen += len(page.Items); len(page.Items) == 0 || seen >= page.Total {
			break
		}
	}
	switch len(found) {
	case 0:
		return "", absent("pod", arg)
	case 1:
		return found[0], nil
	default:
		return "", fault.New(fault.Validation, "pod %q: %d pods begin so or have this name, such as %s and %s: give more of the id", arg, len(found), found[0], found[1])
	}
}

// findPod gives the pod that an argument means.
func findPod(ctx context.Context, c *client.Client, arg string) (api.Pod, error) {
	id, err := podID(ctx, c, arg)
	if err != nil {
		return api.Pod{}, err
	}
	p, err := c.GetPod(ctx, id)
	return p, named(err, "pod", arg)
}

// absent says that something is not there, or not for this user.
func absent(kind, name string) error {
	return withHint(fault.New(fault.NotFound, "%s %q not found", kind, name), "`stark %s list` shows those that you see", kind)
}

// named tells which one was not found; the server knows it only by its kind.
func named(err error, kind, name string) error {
	if fault.CodeOf(err) == fault.NotFound {
		return absent(kind, name)
	}
	return err
}
