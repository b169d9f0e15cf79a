package rest

import (
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// documentStreams adds to the OpenAPI document what plain gin handlers serve.
func (s *server) documentStreams() {
	doc := s.api.OpenAPI()
	doc.AddOperation(s.documentUpload())
	doc.AddOperation(s.documentLogs())
	doc.AddOperation(s.documentManyLogs())
	doc.AddOperation(s.documentLogout())
	s.documentProbe("/health", "health", schemaOf[health](s), "How each part of the server does")
	s.documentProbe("/ready", "ready", schemaOf[readiness](s), "Whether the server takes requests")
	s.documentProbe("/live", "live", schemaOf[liveness](s), "Whether the process lives")
}

func schemaOf[T any](s *server) *huma.Schema {
	return s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

func jsonContent(schema *huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: schema}}
}

func (s *server) documentUpload() *huma.Operation {
	o := operation{
		method: http.MethodPost, path: "/api/packs", id: "createPack", tag: "packs", rule: may(access.Create, access.Pack),
		summary: "Make a version of a pack and take in its bundle", status: http.StatusCreated, errors: []int{http.StatusConflict},
	}
	op := s.describe(o)
	text := &huma.Schema{Type: huma.TypeString}
	form := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"name", "version", "runtimeTag", "bundle"},
		Description: "The fields stand before the file.",
		Properties: map[string]*huma.Schema{
			"name": text, "version": text, "runtimeTag": text, "visibility": text, "format": text, "description": text,
			"metadata": {Type: huma.TypeString, Description: "a JSON object as text"},
			"bundle":   {Type: huma.TypeString, Format: "binary"},
		},
	}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"multipart/form-data": {Schema: form},
		"application/json":    {Schema: schemaOf[api.CreatePackRequest](s)},
	}}
	op.Responses["201"] = &huma.Response{Description: "Created", Content: jsonContent(schemaOf[Envelope[onePack]](s))}
	return &op
}

func (s *server) documentLogout() *huma.Operation {
	op := s.describe(operation{
		method: http.MethodPost, path: "/auth/logout", id: "logout", tag: "auth", rule: signedIn,
		summary: "End the session of the token; one that is no longer good counts as ended",
	})
	op.Responses["200"] = &huma.Response{Description: "OK", Content: jsonContent(schemaOf[Envelope[message]](s))}
	return &op
}

func (s *server) documentProbe(path, id string, schema *huma.Schema, summary string) {
	responses := map[string]*huma.Response{
		"200": {Description: "OK", Content: jsonContent(schema)},
		"503": {Description: http.StatusText(http.StatusServiceUnavailable), Content: jsonContent(schema)},
	}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"health"}, Responses: responses,
	})
}

// serveOpenAPI serves the document as it stands now; it does not change again.
func (s *server) serveOpenAPI() {
	build := sync.OnceValues(func() ([]byte, error) { return s.api.OpenAPI().MarshalJSON() })
	s.engine.GET("/openapi.json", func(c *gin.Context) {
		doc, err := build()
		if err != nil {
			s.abort(c, fault.Wrap(err, fault.Internal, "the document cannot be made"))
			return
		}
		c.Data(http.StatusOK, "application/json; charset=utf-8", doc)
	})
}
