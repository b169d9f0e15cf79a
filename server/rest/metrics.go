package rest

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the API's own; routes are templates, so that ids make no series.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	limited  prometheus.Counter
	bundles  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stark_http_requests_total", Help: "HTTP requests by method, route and status.",
		}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stark_http_request_duration_seconds", Help: "Duration of HTTP requests, of streams until they end.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stark_http_rate_limited_total", Help: "HTTP requests refused because their caller asks too often.",
		}),
		bundles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stark_bundle_upload_bytes_total", Help: "Bytes of bundles taken in.",
		}),
	}
	r.MustRegister(m.requests, m.duration, m.limited, m.bundles)
	return m
}

func (m *metrics) observe(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(knownMethod(method), route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(knownMethod(method), route).Observe(took.Seconds())
}

// knownMethod keeps invented methods from making series.
func knownMethod(m string) string {
	switch m {
	case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS":
		return m
	default:
		return "other"
	}
}
