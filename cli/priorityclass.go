package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func (a *app) priorityClassCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "priorityclass", Aliases: []string{"pc", "priorityclasses"}, Short: "Name the priorities of pods",
		Example: "  stark priorityclass list\n  stark priorityclass create batch --value -100 --preemption-policy Never",
	}
	cmd.AddCommand(
		a.priorityClassListCommand(), a.priorityClassCreateCommand(),
		a.completes(a.priorityClassGetCommand(), false, classCompletions), a.completes(a.priorityClassUpdateCommand(), false, classCompletions),
		a.completes(a.priorityClassDeleteCommand(), false, classCompletions),
	)
	return cmd
}

func classCompletions(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	classes, err := c.ListPriorityClasses(ctx)
	out := make([]cobra.Completion, len(classes))
	for i, p := range classes {
		out[i] = cobra.CompletionWithDesc(p.Name, fmt.Sprint(p.Value))
	}
	return out, err
}

func classView() view[api.PriorityClass] {
	return view[api.PriorityClass]{
		kind: "priorityclass", id: func(p api.PriorityClass) string { return p.Name }, empty: "no priority classes",
		columns: []column[api.PriorityClass]{
			{"NAME", func(p api.PriorityClass) string { return p.Name }},
			{"VALUE", func(p api.PriorityClass) string { return fmt.Sprint(p.Value) }},
			{"DEFAULT", func(p api.PriorityClass) string { return fmt.Sprint(p.GlobalDefault) }},
			{"PREEMPTION", func(p api.PriorityClass) string { return string(p.PreemptionPolicy) }},
		},
	}
}

// showClass writes a class after something was done with it.
func (a *app) showClass(p api.PriorityClass, done string) error {
	return printOne(a, classView(), p, func(w io.Writer) { fmt.Fprintf(w, "priority class %s %s\n", p.Name, done) })
}

func (a *app) priorityClassListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List priority classes, the highest first", Example: "  stark priorityclass list", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			classes, err := c.ListPriorityClasses(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, classView(), classes)
		},
	}
}

func (a *app) priorityClassGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get <name>", Aliases: []string{"describe", "info"}, Short: "Show a priority class", Example: "  stark priorityclass get default", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.GetPriorityClass(cmd.Context(), args[0])
			if err != nil {
				return named(err, "priority class", args[0])
			}
			return printOne(a, classView(), p, func(w io.Writer) {
				line(w, "Name", p.Name)
				line(w, "Value", fmt.Sprint(p.Value))
				line(w, "Global default", fmt.Sprint(p.GlobalDefault))
				line(w, "Preemption policy", string(p.PreemptionPolicy))
				line(w, "Description", p.Description)
			})
		},
	}
}

// classFlags is what a class is made or changed by.
type classFlags struct {
	value               int32
	globalDefault       bool
	policy, description string
}

func (f *classFlags) flags(cmd *cobra.Command) {
	s := cmd.Flags()
	s.Int32Var(&f.value, "value", 0, "priority, -2000000000 to 1000000000; higher goes first")
	s.BoolVar(&f.globalDefault, "global-default", false, "the class of pods that name none; there is one at most")
	s.StringVar(&f.policy, "preemption-policy", "", "PreemptLowerPriority or Never (default PreemptLowerPriority)")
	s.StringVar(&f.description, "description", "", "what it is for")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("preemption-policy",
		cobra.FixedCompletions([]string{string(api.PreemptLowerPriority), string(api.PreemptNever)}, cobra.ShellCompDirectiveNoFileComp)))
}

func (a *app) priorityClassCreateCommand() *cobra.Command {
	var f classFlags
	cmd := &cobra.Command{
		Use: "create <name>", Short: "Make a priority class",
		Example: "  stark priorityclass create shop --value 5000 --description \"what customers wait for\"", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("value") {
				return usagef("--value is needed: a whole number")
			}
			p := api.PriorityClass{
				Name: args[0], Value: f.value, GlobalDefault: f.globalDefault, PreemptionPolicy: api.PreemptionPolicy(f.policy), Description: f.description,
			}
			if err := p.Validate(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if p, err = c.CreatePriorityClass(cmd.Context(), p); err != nil {
				return err
			}
			return a.showClass(p, "is made")
		},
	}
	f.flags(cmd)
	return cmd
}

func (a *app) priorityClassUpdateCommand() *cobra.Command {
	var f classFlags
	cmd := &cobra.Command{
		Use: "update <name>", Aliases: []string{"set"}, Short: "Change a priority class; value and policy only while no live pod has it",
		Example: "  stark priorityclass update shop --global-default", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := api.UpdatePriorityClassRequest{}
			changed := cmd.Flags().Changed
			if changed("value") {
				r.Value = &f.value
			}
			if changed("global-default") {
				r.GlobalDefault = &f.globalDefault
			}
			if changed("preemption-policy") {
				r.PreemptionPolicy = new(api.PreemptionPolicy(f.policy))
			}
			if changed("description") {
				r.Description = &f.description
			}
			if r == (api.UpdatePriorityClassRequest{}) {
				return usagef("nothing to change: give --value, --global-default, --preemption-policy or --description")
			}
			if err := r.Validate(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.UpdatePriorityClass(cmd.Context(), args[0], r)
			if err != nil {
				return named(err, "priority class", args[0])
			}
			return a.showClass(p, "is changed")
		},
	}
	f.flags(cmd)
	return cmd
}

func (a *app) priorityClassDeleteCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete <name>", Aliases: []string{"rm"}, Short: "Remove a priority class that no live pod has",
		Example: "  stark priorityclass delete shop --force", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !force {
				if err := a.confirm(cmd.Context(), fmt.Sprintf("Delete priority class %s?", args[0])); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.DeletePriorityClass(cmd.Context(), args[0]); err != nil {
				return named(err, "priority class", args[0])
			}
			return a.done(map[string]any{"deleted": args[0]}, "deleted priority class %s", args[0])
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	return cmd
}
