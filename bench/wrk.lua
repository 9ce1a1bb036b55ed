-- Prints wrk's summary as JSON. done() runs once at the end, so nothing here slows a request.
function done(summary, latency, requests)
	local errors = summary.errors
	io.write(string.format('{"requests": %d, "bytes": %d, "seconds": %.6f, ',
		summary.requests, summary.bytes, summary.duration / 1e6))
	io.write(string.format('"p50_us": %d, "p99_us": %d, ',
		latency:percentile(50), latency:percentile(99)))
	io.write(string.format('"bad_status": %d, "socket_errors": %d}\n',
		errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
