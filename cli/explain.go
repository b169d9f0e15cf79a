package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// explainCommand is "stark explain pod X", as people of Kubernetes' "describe" write.
func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "explain", Short: "Say why things are as they are", Example: "  stark explain pod <id>", Args: cobra.NoArgs}
	pod := a.podExplainCommand()
	pod.Use, pod.Example = "pod <id>", "  stark explain pod <id>"
	cmd.AddCommand(a.completes(pod, false, podNames))
	return cmd
}

func (a *app) podExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain <id>", Short: "Say why a pod has no node, or how the nodes compare", Example: "  stark pod explain <id>",
		Long: `Say why a pod has no node: for each node the first filter that refused it, the
nearest miss first, and the smallest change that would let it fit. For a pod that
has a node, or could have one, the nodes that fit and their scores of 0 to 100.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := findPod(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			e, err := c.PodExplanation(cmd.Context(), p.ID)
			if err != nil {
				return err
			}
			if e.Verdict == nil && len(e.Candidates) == 0 && a.format() == formatTable {
				_, err := fmt.Fprintln(a.stdout, nothingToExplain(p))
				return err
			}
			return printOne(a, explanationView(p.ID), e, func(w io.Writer) { describeExplanation(w, p, e) })
		},
	}
}

func explanationView(id string) view[api.Explanation] {
	return view[api.Explanation]{kind: "pod", id: func(api.Explanation) string { return id }}
}

func describeExplanation(w io.Writer, p api.Pod, e api.Explanation) {
	if e.Verdict == nil && p.ID != "" {
		fmt.Fprintln(w, nothingToExplain(p))
	}
	describeVerdict(w, e.Verdict)
	for _, v := range e.Victims {
		fmt.Fprintf(w, "  would have to leave\tpod %s of %s, priority %d\n", v.PodID, v.Namespace, v.Priority)
	}
	for _, c := range e.Candidates {
		fmt.Fprintf(w, "  %s\t%d", clean(c.NodeName), c.Score)
		for _, part := range c.Parts {
			fmt.Fprintf(w, "\t%s %d x%d", part.Name, part.Score, part.Weight)
		}
		fmt.Fprintln(w)
	}
}

// dryRun shows what "pod create" would do, and does nothing. A pod that no node would
// take now ends with the code for "accepted, but not placed".
func (a *app) dryRun(ctx context.Context, c *client.Client, r api.CreatePodRequest) error {
	p, e, err := c.DryRunPod(ctx, r)
	if err != nil {
		return err
	}
	err = printOne(a, explanationView(p.ID), e, func(w io.Writer) {
		if e.Verdict == nil {
			fmt.Fprintf(w, "%s %s would run on %s\n", p.PackName, p.PackVersion, clean(e.NodeName))
		}
		describeExplanation(w, api.Pod{}, e)
	})
	if err == nil && e.Verdict != nil {
		err = exitCodeError{exitNotPlaced, errors.New("nothing is made; no node would take the pod now")}
	}
	return err
}
