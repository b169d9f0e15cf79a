// Package simulated holds fleets of agents without a machine behind them: the real
// agent over real connections, each with its own identity, and an executor whose runs
// are nothing but their states. It measures what a server bears, and refuses to run
// packs. What a fleet keeps of an agent is bounded, whatever the server sends.
package simulated
