package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// IfMatchInput makes a change one of a version of the object alone. Operations that
// change or remove one object embed it; nothing else is needed for it to count. Like
// PageInput it is exported for huma.
type IfMatchInput struct {
	IfMatch string `header:"If-Match" doc:"the ETag of the version that is to be changed; 412 with code CONFLICT when the object has changed since. A body may say it as resourceVersion instead, and is then answered 409"`
}

func (i IfMatchInput) ifMatch() string { return i.IfMatch }

type conditional interface{ ifMatch() string }

// maxTags bounds the versions that one If-Match may name.
const maxTags = 16

// withPrecondition puts the versions that If-Match names into the context.
func withPrecondition(ctx context.Context, in any) (context.Context, error) {
	c, ok := in.(conditional)
	if !ok || c.ifMatch() == "" || strings.TrimSpace(c.ifMatch()) == "*" { // the object must be there: it must anyway
		return ctx, nil
	}
	tags := strings.Split(c.ifMatch(), ",")
	if len(tags) > maxTags {
		return ctx, api.InvalidField("If-Match", fault.FieldTooManyEntries, "names more than %d versions", maxTags)
	}
	versions := make([]string, len(tags))
	for i, tag := range tags {
		// Proxies that compress make a weak tag of a strong one; the version is the same.
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		version, found := strings.CutPrefix(tag, `"`)
		version, closed := strings.CutSuffix(version, `"`)
		if !found || !closed || !api.ValidResourceVersion(version) {
			return ctx, api.InvalidField("If-Match", fault.FieldInvalidFormat, `must be the ETag of an answer, in quotes, such as "1234", or *`)
		}
		versions[i] = version
	}
	return access.Expect(ctx, versions...), nil
}

// expecting takes the version that a body names; beside If-Match both must agree.
func expecting(ctx context.Context, version string) (context.Context, error) {
	if version == "" {
		return ctx, nil
	}
	if named := access.Expected(ctx); len(named) > 0 && !slices.Contains(named, version) {
		return ctx, api.InvalidField("resourceVersion", fault.FieldInvalidValue, "is not a version that If-Match names")
	}
	return access.Expect(ctx, version), nil
}

// failConditional is fail, with the status that HTTP has for If-Match.
func (s *server) failConditional(ctx context.Context, in any, err error) *failure {
	f := s.fail(ctx, err)
	c, ok := in.(conditional)
	if ok && c.ifMatch() != "" && f.body.Error.Code == fault.Conflict && f.body.Error.Details["resourceVersion"] != nil {
		f.status = http.StatusPreconditionFailed
	}
	return f
}

// versioned is the answer with one object.
type versioned interface{ resourceVersion() string }

func etagOf(data any) string {
	if v, ok := data.(versioned); ok && v.resourceVersion() != "" {
		return `"` + v.resourceVersion() + `"`
	}
	return ""
}

func (o onePod) resourceVersion() string { return o.Pod.ResourceVersion }
func (c createdPod) resourceVersion() string {
	if c.Pod == nil {
		return ""
	}
	return c.Pod.ResourceVersion
}

func (o onePack) resourceVersion() string    { return o.Pack.ResourceVersion }
func (o oneNode) resourceVersion() string    { return o.Node.ResourceVersion }
func (o oneToken) resourceVersion() string   { return o.Token.ResourceVersion }
func (o profile) resourceVersion() string    { return o.User.ResourceVersion }
func (o stoppedPod) resourceVersion() string { return o.Pod.ResourceVersion }
