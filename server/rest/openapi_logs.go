package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// logLines describes a stream of lines.
const logLines = "Lines of JSON, each a LogLine: a line of output; or a mark where `dropped` lines are missing, because they " +
	"left the node's memory before they could be sent; or a `notice`, a sentence of Stark about the lines around it, such as that " +
	"they come from what was stored because no node can answer, that the agent was lost or the pod has moved so that lines may be " +
	"missing, or that a pod has joined or ended. The `line` of marks and notices is empty. " +
	"A stream that fails behind its first line ends with a line `{\"error\": {...}}`, as the errors of other answers."

func (s *server) documentLogs() *huma.Operation {
	op := s.describe(operation{
		method: http.MethodGet, path: "/api/pods/{id}/logs", id: "getPodLogs", tag: "pods", rule: may(access.Read, access.Pod),
		summary: "The output of a pod, one JSON object per line",
	})
	op.Parameters = append([]*huma.Param{
		{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"}},
	}, lineParams("default 1000", "go on while the pod lives")...)
	s.answersLines(&op)
	return &op
}

func (s *server) documentManyLogs() *huma.Operation {
	op := s.describe(operation{
		method: http.MethodGet, path: "/api/logs", id: "getLogs", tag: "pods", rule: may(access.Read, access.Pod),
		summary: "The output of several pods, one JSON object per line, which names its pod",
		errors:  []int{http.StatusNotFound},
	})
	op.Description = "Without `follow`, what is kept of all pods, in the order of time, with an error behind it where some could not be read. " +
		"With it, lines as they come: pods that match later join, with all their lines where they are new, and those that have ended leave; " +
		"the stream ends when all pods are named and have ended. It ends with GONE when the roles or memberships of its reader change: ask again. " +
		"A reader whose connection was lost goes on, at any server, by asking the same again with `after` for each pod that it has lines of."
	op.Parameters = append([]*huma.Param{
		listParam("podId", "pods by their ids; all must be there"),
		queryParam("labelSelector", huma.TypeString, "pods by their labels, as in Kubernetes; an empty one means all that the reader may see. Either this or podId is needed"),
		queryParam("namespace", huma.TypeString, "narrows labelSelector"),
		queryParam("maxPods", huma.TypeInteger, "more pods are refused, 1 to 100; default 50. While following, those that come later wait for a place"),
		queryParam("resumable", huma.TypeBoolean, "each line says its `position`; an empty line comes at the beginning, and every 15 s as a sign of life"),
		listParam("after", "`<pod id>:<position>`: of that pod only what comes behind the line with that position, and all of it. Names the pod as podId does"),
	}, lineParams("of each pod; default 10", "go on while the pods live")...)
	s.answersLines(&op)
	return &op
}

func (s *server) answersLines(op *huma.Operation) {
	schemaOf[api.LogLine](s)
	op.Responses["200"] = &huma.Response{Description: logLines, Content: map[string]*huma.MediaType{
		"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString}},
	}}
}

func lineParams(tail, follow string) []*huma.Param {
	return []*huma.Param{
		queryParam("tail", huma.TypeInteger, "lines from the end, -1 for all that is kept; "+tail),
		queryParam("follow", huma.TypeBoolean, follow),
		queryParam("previous", huma.TypeBoolean, "of the attempt before the newest"),
		queryParam("since", huma.TypeString, "only lines since then, RFC 3339"),
	}
}

func queryParam(name, typ, text string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: text, Schema: &huma.Schema{Type: typ}}
}

func listParam(name, text string) *huma.Param {
	p := queryParam(name, huma.TypeArray, text)
	p.Schema.Items = &huma.Schema{Type: huma.TypeString}
	return p
}
