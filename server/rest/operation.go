package rest

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// maxBody bounds a JSON body, in bytes.
const maxBody = 1 << 20

// bulkPath takes larger bodies than others.
const bulkPath = "/api/pods/bulk"

// bodyLimit bounds the JSON body of a route, in bytes.
func bodyLimit(route string) int64 {
	if route == bulkPath {
		return api.MaxBulkBytes
	}
	return maxBody
}

// rule says who may call an operation.
type rule struct {
	action access.Action
	kind   access.Kind
	open   bool // no token needed
	any    bool // any signed-in user
}

var (
	public   = rule{open: true}
	signedIn = rule{any: true}
)

func may(a access.Action, k access.Kind) rule { return rule{action: a, kind: k} }

// operation is what differs between the JSON endpoints.
type operation struct {
	method, path string
	id           string
	summary      string
	tag          string
	rule         rule
	status       int // 200 when 0
	errors       []int
	conditional  bool // takes If-Match; register sees that by itself
}

// repeatable reports whether an operation takes an Idempotency-Key: all that somebody
// who is signed in asks for by POST. Who signs in gets secrets that are not kept.
func (o operation) repeatable() bool { return o.method == http.MethodPost && !o.rule.open }

type output[T any] struct {
	Status int
	Stale  string `header:"X-Stark-Stale" doc:"true when the database is away and this is what the server remembers"`
	ETag   string `header:"ETag" doc:"the resourceVersion of the one object that the answer holds, in quotes; for If-Match"`
	Body   Envelope[T]
}

// register adds one JSON endpoint: the handler gets the input and who calls, and
// returns the data of the envelope.
func register[I, T any](s *server, o operation, h func(context.Context, caller, *I) (T, error)) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	_, o.conditional = any(new(I)).(conditional)
	huma.Register(s.api, s.describe(o), func(ctx context.Context, in *I) (*output[T], error) {
		who := callerFrom(ctx)
		ctx, err := withPrecondition(ctx, in)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		data, err := h(ctx, who, in)
		if err != nil {
			return nil, s.failConditional(ctx, in, err)
		}
		out := &output[T]{Status: o.status, ETag: etagOf(data), Body: Envelope[T]{Success: true, Data: data}}
		if who.stale != nil && *who.stale {
			out.Stale = "true"
		}
		return out, nil
	})
}

// registerEmpty adds an endpoint that answers 204.
func registerEmpty[I any](s *server, o operation, h func(context.Context, caller, *I) error) {
	o.status = http.StatusNoContent
	_, o.conditional = any(new(I)).(conditional)
	huma.Register(s.api, s.describe(o), func(ctx context.Context, in *I) (*struct{}, error) {
		ctx, err := withPrecondition(ctx, in)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		if err := h(ctx, callerFrom(ctx), in); err != nil {
			return nil, s.failConditional(ctx, in, err)
		}
		return nil, nil //nolint:nilnil // huma's way to say: no content
	})
}

func (s *server) describe(o operation) huma.Operation {
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Tags: []string{o.tag},
		DefaultStatus: o.status, MaxBodyBytes: bodyLimit(o.path), BodyReadTimeout: s.config.RequestTimeout,
		SkipValidateBody: true, Responses: s.errorResponses(o),
		Middlewares: huma.Middlewares{asBadRequest, s.guardHuma(o)},
	}
	if o.repeatable() {
		op.Parameters = []*huma.Param{idempotencyParam()}
	}
	if !o.rule.open {
		op.Security = []map[string][]string{{"bearer": {}}}
	}
	return op
}

// errorResponses documents what can go wrong everywhere, and what o adds.
func (s *server) errorResponses(o operation) map[string]*huma.Response {
	codes := append([]int{http.StatusBadRequest, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, o.errors...)
	if !o.rule.open {
		codes = append(codes, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(o.path, "{") {
		codes = append(codes, http.StatusNotFound)
	}
	if o.repeatable() {
		codes = append(codes, http.StatusConflict, http.StatusUnprocessableEntity)
	}
	if o.conditional {
		codes = append(codes, http.StatusConflict, http.StatusPreconditionFailed)
	}
	if o.method != http.MethodGet && o.method != http.MethodDelete {
		codes = append(codes, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	schema := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[fault.Envelope](), true, "")
	out := map[string]*huma.Response{}
	for _, code := range codes {
		out[strconv.Itoa(code)] = &huma.Response{
			Description: http.StatusText(code),
			Content:     map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}
	}
	return out
}

// humaConfig leaves out what DefaultConfig adds: schema links in answers, docs
// pages, CBOR.
func humaConfig(version string) huma.Config {
	c := huma.DefaultConfig("Stark", version)
	c.CreateHooks = nil
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Formats = map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat}
	c.DefaultFormat = "application/json"
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "Runs JavaScript packs as pods on Node.js hosts and browser tabs."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"},
	}
	return c
}

// badRequest makes 400 of huma's 422, which the API does not know, and sets the
// headers that belong to an error.
type badRequest struct{ humaContext }

// humaContext is huma.Context under a name that does not hide its method Context.
type humaContext huma.Context

// SetStatus writes a status.
func (b badRequest) SetStatus(code int) {
	if code == http.StatusUnprocessableEntity {
		code = http.StatusBadRequest
	}
	b.humaContext.SetStatus(code)
}

// Unwrap lets humagin find its own context.
func (b badRequest) Unwrap() huma.Context { return b.humaContext }

func asBadRequest(ctx huma.Context, next func(huma.Context)) { next(badRequest{ctx}) }

func (s *server) guardHuma(o operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		c := humagin.Unwrap(ctx)
		cancel := s.deadline(c, s.config.RequestTimeout)
		defer cancel()
		if !s.admit(c, o.rule) {
			return
		}
		if err := textual(c); err != nil {
			s.abort(c, err)
			return
		}
		if o.method != http.MethodGet && !o.conditional && c.GetHeader("If-Match") != "" {
			s.abort(c, api.InvalidField("If-Match", fault.FieldNotAllowed, "is not taken here: leave it out")) // rather than pass over it
			return
		}
		if !o.repeatable() {
			next(ctx) // its Context is that of c.Request, which admit has replaced
			return
		}
		s.onceWithBody(c, func() { next(ctx) })
	}
}

// transform turns huma's own errors into the envelope, and sets Retry-After on
// ours.
func (s *server) transform(ctx huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *failure:
		e.headers(humagin.Unwrap(ctx).Writer.Header())
		return e.body, nil
	case *huma.ErrorModel:
		ctx.SetHeader("Content-Type", "application/json")
		return s.fail(ctx.Context(), modelFault(e, ctx.Operation().MaxBodyBytes)).body, nil
	default:
		return v, nil
	}
}

// modelFault says in our words what huma found wrong with parameters.
func modelFault(m *huma.ErrorModel, limit int64) error {
	switch m.Status {
	case http.StatusRequestEntityTooLarge:
		return fault.New(fault.PayloadTooLarge, "the body is larger than %d bytes", limit)
	case http.StatusUnsupportedMediaType:
		return fault.New(fault.UnsupportedMediaType, "send application/json")
	case http.StatusRequestTimeout:
		return fault.New(fault.Timeout, "the body did not arrive in time")
	case http.StatusBadRequest:
		if len(m.Errors) == 0 {
			return api.InvalidField("input", fault.FieldRequired, "a JSON object is required as the body")
		}
	}
	if m.Status >= http.StatusInternalServerError {
		return errors.New(m.Detail)
	}
	e := fault.New(fault.Validation, "the request is not valid")
	e.Details = map[string]any{}
	for _, d := range m.Errors {
		_, name, found := strings.Cut(d.Location, ".")
		if !found {
			name = d.Location
		}
		code := fault.FieldInvalidValue
		switch {
		case strings.Contains(d.Message, "unknown query parameter"):
			code = fault.FieldUnknown
		case strings.HasPrefix(d.Message, "invalid "):
			code = fault.FieldInvalidType
		}
		e.Details[name] = fault.Field{Code: code, Message: d.Message}
		e.Message = name + ": " + d.Message
	}
	return e
}
