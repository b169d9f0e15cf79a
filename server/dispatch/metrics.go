package dispatch

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sessions prometheus.Gauge
	nodes    prometheus.Gauge
	received *prometheus.CounterVec
	slow     prometheus.Counter

	turnedAway prometheus.Counter
	resent     prometheus.Counter
	resyncs    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stark_ws_sessions", Help: "Open WebSocket connections.",
		}),
		nodes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stark_ws_nodes", Help: "Nodes that are connected to this server.",
		}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stark_ws_messages_received_total", Help: "Messages received, by type.",
		}, []string{"type"}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stark_ws_slow_consumers_total", Help: "Connections closed because they read too slowly.",
		}),
		turnedAway: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stark_ws_turned_away_total", Help: "Nodes that were told to come again because too many came at once.",
		}),
		resent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stark_ws_wanted_sets_resent_total", Help: "Wanted sets sent again because they were not acknowledged.",
		}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stark_ws_watch_resyncs_total", Help: "Watches that ended because they fell behind.",
		}),
	}
	if r != nil {
		r.MustRegister(m.sessions, m.nodes, m.received, m.slow, m.turnedAway, m.resent, m.resyncs)
	}
	return m
}
