package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// logPrinter shows lines of one pod or of several.
type logPrinter struct {
	a          *app
	c          *client.Client
	timestamps bool
	prefix     bool
	color      bool
	alone      bool              // there is only one pod: nobody needs to be told which
	names      map[string]string // of pods, by id
	shades     map[string]string // of pods that have been shown
}

// knows notes the name of a pod.
func (p *logPrinter) knows(pod api.Pod) { p.names[pod.ID] = podName(pod) }

// podNameEnd is how many characters of its id tell a pod from others of its pack. The
// beginning of an id is a time, which pods that were made together have in common.
const podNameEnd = 6

// podName is a short name of a pod, which the commands take in place of its id.
func podName(p api.Pod) string { return p.PackName + "-" + p.ID[max(0, len(p.ID)-podNameEnd):] }

// print shows lines until they end. Whoever follows ends it by Ctrl-C.
func (p *logPrinter) print(ctx context.Context, follow bool, lines iter.Seq2[api.LogLine, error]) error {
	for l, err := range lines {
		if follow && ctx.Err() != nil {
			return nil
		}
		if fault.CodeOf(err) == fault.Timeout { // of a read: there is nothing that may have been done
			return withHint(err, "try again in a moment; `stark pod status <id>` says how the pod and its node are")
		}
		if err != nil {
			return err
		}
		if err := p.line(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (p *logPrinter) line(ctx context.Context, l api.LogLine) error {
	if p.a.format() == formatJSON {
		data, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.a.stdout, "%s\n", escapeJSON(data))
		return err
	}
	if l.Notice != "" { // on stderr: what reads the output gets output alone
		who := ""
		if l.PodID != "" && !p.alone {
			who = p.name(ctx, l.PodID) + ": "
		}
		_, err := fmt.Fprintf(p.a.stderr, "[%s%s]\n", who, l.Notice)
		return err
	}
	text := logText(l) + "\n"
	if p.timestamps {
		text = l.Time.Local().Format(time.RFC3339Nano) + " " + text
	}
	if p.prefix && l.PodID != "" {
		text = p.shaded(l.PodID, "["+p.name(ctx, l.PodID)+"]") + " " + text
	}
	if _, err := io.WriteString(p.a.stdout, text); err != nil {
		return errors.Join(errors.New("write the output"), err)
	}
	return nil
}

// name asks for the name of a pod that has joined; where nobody tells, its id does.
func (p *logPrinter) name(ctx context.Context, id string) string {
	if name, known := p.names[id]; known {
		return name
	}
	p.names[id] = id
	if pod, err := p.c.GetPod(ctx, id); err == nil {
		p.knows(pod)
	}
	return p.names[id]
}

// shaded paints the name of a pod in its colour, on a terminal: one of six in turn.
func (p *logPrinter) shaded(id, text string) string {
	if !p.color {
		return text
	}
	if p.shades == nil {
		p.shades = map[string]string{}
	}
	shade, known := p.shades[id]
	if !known {
		all := []string{"36", "33", "32", "35", "34", "31"}
		shade = all[len(p.shades)%len(all)]
		p.shades[id] = shade
	}
	return paint(shade, text)
}
