// The same samples in client_golang's labelled children, and rendered and compressed by promhttp.
package main

import (
	"log"
	"net/http"
	"os"
	"sort"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

func main() {
	samples, err := os.Open(os.Getenv("BENCH_SAMPLES"))
	if err != nil {
		log.Fatal(err)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(samples)
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	for name, family := range families {
		if strings.HasPrefix(name, "wawp_session_") {
			register(registry, name, family)
		}
	}
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("BENCH_PORT"), handler))
}

func register(registry *prometheus.Registry, name string, family *dto.MetricFamily) {
	var names []string
	for _, pair := range family.Metric[0].Label {
		names = append(names, pair.GetName())
	}
	sort.Strings(names)
	switch family.GetType() {
	case dto.MetricType_GAUGE:
		gauges := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: "Help."}, names)
		for _, metric := range family.Metric {
			gauges.With(labels(metric)).Set(metric.Gauge.GetValue())
		}
		registry.MustRegister(gauges)
	case dto.MetricType_COUNTER:
		counters := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "Help."}, names)
		for _, metric := range family.Metric {
			counters.With(labels(metric)).Add(metric.Counter.GetValue())
		}
		registry.MustRegister(counters)
	}
}

func labels(metric *dto.Metric) prometheus.Labels {
	found := prometheus.Labels{}
	for _, pair := range metric.Label {
		found[pair.GetName()] = pair.GetValue()
	}
	return found
}
