package api

import (
	"unicode"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// The conditions that agents report. True is the unusual state; a condition that an
// agent does not name does not hold for it.
const (
	ConditionDiskPressure   = "DiskPressure"   // the disk of the agent's state is nearly full
	ConditionMemoryPressure = "MemoryPressure" // the machine has hardly any memory left
	ConditionHidden         = "Hidden"         // the tab is in the background
	ConditionThrottled      = "Throttled"      // the browser runs the tab's timers rarely
	ConditionOnBattery      = "OnBattery"
)

// Bounds of what a heartbeat may carry.
const (
	MaxConditions       = 16
	maxConditionType    = 63
	maxConditionReason  = 128
	maxConditionMessage = 1024
	MaxUsagePods        = 1000 // figures of one node
)

// NodeUsage is what a node and its pods use at a moment, as its agent has sampled it.
type NodeUsage struct {
	CPU    *Millicores `json:"cpu,omitempty"`    // of the whole machine, since the last sample; absent where it is not known
	Memory *Mebibytes  `json:"memory,omitempty"` // in use on the whole machine; absent where it is not known
	Pods   []PodUsage  `json:"pods"`             // at most MaxUsagePods, the largest by CPU
}

// PodUsage is what a pod uses at a moment. Pods that share a host share its figures,
// in equal parts.
type PodUsage struct {
	PodID       string      `json:"podId"`
	Incarnation int         `json:"incarnation"`
	CPU         *Millicores `json:"cpu,omitempty"`    // since the last sample; absent where it is not known
	Memory      *Mebibytes  `json:"memory,omitempty"` // resident; absent where it is not known
	LoopDelayMS int64       `json:"loopDelayMs"`      // of the event loop, the longest since the last sample
}

// ValidateConditions reports every fault of the conditions in a heartbeat.
func ValidateConditions(list []NodeCondition) error {
	var c checker
	c.entries("conditions", len(list), MaxConditions)
	seen := map[string]bool{}
	for i, cond := range list[:min(len(list), MaxConditions)] {
		at := index("conditions", i)
		c.conditionType(at+".type", cond.Type)
		if seen[cond.Type] {
			c.add(at+".type", fault.FieldDuplicate, "each type may be there once")
		}
		seen[cond.Type] = true
		if !c.tooLong(at+".reason", cond.Reason, maxConditionReason) && !allBytes(cond.Reason, isAlnum) {
			c.add(at+".reason", fault.FieldInvalidFormat, "must be a word of letters and digits")
		}
		if !c.tooLong(at+".message", cond.Message, maxConditionMessage) && !printable(cond.Message) {
			c.add(at+".message", fault.FieldInvalidFormat, "must be text without control characters")
		}
	}
	return c.err()
}

func (c *checker) conditionType(path, v string) {
	if !c.required(path, v) || c.tooLong(path, v, maxConditionType) {
		return
	}
	if !isUpper(v[0]) || !allBytes(v, isAlnum) {
		c.add(path, fault.FieldInvalidFormat, "must be a word such as DiskPressure")
	}
}

func printable(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// Validate reports every fault.
func (u *NodeUsage) Validate() error {
	var c checker
	c.entries("usage.pods", len(u.Pods), MaxUsagePods)
	cpuBounded(&c, "usage.cpu", u.CPU)
	bytesBounded(&c, "usage.memory", u.Memory)
	for i, p := range u.Pods[:min(len(u.Pods), MaxUsagePods)] {
		at := index("usage.pods", i)
		c.uuid(at+".podId", p.PodID)
		cpuBounded(&c, at+".cpu", p.CPU)
		bytesBounded(&c, at+".memory", p.Memory)
		c.intRange(at+".incarnation", int64(p.Incarnation), 1, 1<<31-1)
		c.intRange(at+".loopDelayMs", p.LoopDelayMS, 0, 1<<40)
	}
	return c.err()
}
