/* Reads a capture with libpcap, puts its flows together, and explains each. libpcap opens no device here: it is given an open file.
 *
 * Refuses link types that packet.h does not know, and stops where flows or bytes become too many; what was read until then is
 * explained. Owns the flows and the fragments. */
#include "explain_capture.h"

#include "address.h"
#include "flows.h"
#include "fragments.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <string.h>

#define PROGRESS_EVERY 65536 /* packets */

struct capture {
	pcap_t *pcap;
	enum packet_link link;
	struct flows *flows;
	struct fragments *fragments;
	size_t n_packets, n_others, n_broken;
};

bool capture_begins(const uint8_t *bytes)
{
	static const uint8_t magics[][4] = {
		{ 0xa1, 0xb2, 0xc3, 0xd4 },                             /* microseconds */
		{ 0xd4, 0xc3, 0xb2, 0xa1 }, { 0xa1, 0xb2, 0x3c, 0x4d }, /* nanoseconds */
		{ 0x4d, 0x3c, 0xb2, 0xa1 }, { 0xa1, 0xb2, 0xcd, 0x34 }, /* a patched libpcap's, which libpcap reads */
		{ 0x34, 0xcd, 0xb2, 0xa1 }, { 0x0a, 0x0d, 0x0d, 0x0a }, /* pcapng */
	};

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (memcmp(bytes, magics[i], 4) == 0)
			return true;
	return false;
}

static bool link_find(int type, enum packet_link *ret)
{
	static const struct {
		int type;
		enum packet_link link;
	} links[] = {
		{ DLT_EN10MB, LINK_ETHERNET },
		{ DLT_LINUX_SLL, LINK_SLL },
		{ DLT_LINUX_SLL2, LINK_SLL2 },
		{ DLT_NULL, LINK_FAMILY },
		{ DLT_LOOP, LINK_FAMILY },
		{ DLT_RAW, LINK_IP },
		{ DLT_IPV4, LINK_IP },
		{ DLT_IPV6, LINK_IP },
		{ DLT_PPP, LINK_PPP },
		{ DLT_PPP_SERIAL, LINK_PPP },
		{ DLT_PPP_ETHER, LINK_PPPOE },
		{ DLT_C_HDLC, LINK_HDLC },
	};

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (links[i].type != type)
			continue;
		*ret = links[i].link;
		return true;
	}
	return false;
}

/* ---- reading ---- */

static int packet_take(struct capture *capture, const struct pcap_pkthdr *head, const uint8_t *bytes)
{
	struct packet packet;
	/* The second part counts microseconds, as pcap_fopen_offline() turns nanoseconds into them. */
	uint64_t time_us = (uint64_t)head->ts.tv_sec * 1000000 + (uint64_t)head->ts.tv_usec;

	capture->n_packets++;
	enum packet_kind kind = packet_parse(&packet, capture->link, bytes, head->caplen, head->len);
	if (kind == PACKET_FRAGMENT)
		kind = fragments_take(capture->fragments, &packet, time_us);
	switch (kind) {
	case PACKET_TCP:
	case PACKET_UDP:
		return flows_take(capture->flows, &packet, time_us);
	case PACKET_FRAGMENT:
		break;
	case PACKET_OTHER:
		capture->n_others++;
		break;
	case PACKET_BROKEN:
		capture->n_broken++;
		break;
	}
	return 0;
}

/* False, after a message: not to its end. */
static bool capture_read(struct capture *capture, const char *name, void (*progress)(size_t packets))
{
	struct pcap_pkthdr *head;
	const u_char *bytes;
	int r = 0, error = 0;

	while (error == 0 && (r = pcap_next_ex(capture->pcap, &head, &bytes)) == 1) {
		error = packet_take(capture, head, bytes);
		if (progress && capture->n_packets % PROGRESS_EVERY == 0)
			progress(capture->n_packets);
	}
	if (progress)
		progress(0);
	if (error == -E2BIG)
		fprintf(stderr, "usher: %s: stopped at packet %zu, expected at most %u flows with %u MiB\n", name,
			capture->n_packets, CAPTURE_FLOWS_MAX, CAPTURE_BYTES_MAX >> 20);
	else if (error < 0)
		fprintf(stderr, "usher: %s: %s\n", name, strerror(-error));
	else if (r != PCAP_ERROR_BREAK)
		fprintf(stderr, "usher: %s: behind packet %zu: %s\n", name, capture->n_packets,
			pcap_geterr(capture->pcap));
	return error == 0 && r == PCAP_ERROR_BREAK;
}

/* ---- explaining ---- */

static void notes_add(struct explainer *explainer, const struct explanation *explanation, const struct flow *flow)
{
	size_t needed = explanation->decided_at != EXPLAIN_NEVER ? explanation->decided_at : flow->len;

	if (flow->is_midstream)
		explainer_note(explainer,
			"; the capture begins in the middle of the flow, and the side that sent first is taken for "
			"the client");
	else if (flow->was_answered && flow->answered == 0)
		explainer_note(explainer, "; the server spoke first");
	else if (flow->was_answered && flow->answered < needed)
		explainer_note(explainer, "; the server answered when the client had sent %zu bytes", flow->answered);
	if (flow->is_cut)
		explainer_note(explainer, "; the capture lacks what the client sent behind byte %zu", flow->len);
}

static const struct explanation *flow_explain(struct explainer *explainer, const struct flow *flow)
{
	explainer_begin(explainer, flow->is_udp);
	if (!flow->is_udp)
		explainer_feed(explainer, flow->bytes, flow->len);
	for (size_t i = 0, at = 0; i < flow->n_datagrams; at = flow->ends[i++])
		explainer_feed(explainer, flow->bytes + at, flow->ends[i] - at);
	const struct explanation *explanation = explainer_end(explainer,
		flow->was_reset            ? EXPLAIN_RESET
			: flow->was_closed ? EXPLAIN_CLOSED
					   : EXPLAIN_OPEN);
	notes_add(explainer, explanation, flow);
	return explanation;
}

static const char *end_format(const struct packet_end *end, char *buf)
{
	struct address address = { .len = sizeof(address.in6), .in6.sin6_family = AF_INET6 };

	memcpy(&address.in6.sin6_addr, end->address, sizeof(end->address));
	memcpy(&address.in6.sin6_port, end->port, sizeof(end->port));
	return address_format(&address, buf);
}

static void flow_json(const struct explanation *explanation, const struct flow *flow, size_t number, FILE *to)
{
	char label[2 * ADDRESS_TEXT_MAX + 60], client[ADDRESS_TEXT_MAX], server[ADDRESS_TEXT_MAX];

	snprintf(label, sizeof(label), "\"id\": %zu, \"client\": \"%s\", \"server\": \"%s\", ", number,
		end_format(&flow->client, client), end_format(&flow->server, server));
	explanation_write_json(explanation, label, to);
	putc('\n', to);
}

static void flow_print(const struct explainer *explainer, const struct explanation *explanation,
	const struct flow *flow, size_t number, const struct page *page)
{
	char label[2 * ADDRESS_TEXT_MAX + 40], client[ADDRESS_TEXT_MAX], server[ADDRESS_TEXT_MAX];

	snprintf(label, sizeof(label), "%zu, %s from %s to %s", number, flow->is_udp ? "udp" : "tcp",
		end_format(&flow->client, client), end_format(&flow->server, server));
	page_field(page, "flow", label);
	explanation_print(explainer, explanation, page);
}

/* Widths of a table's columns; 0: there is none. */
struct columns {
	int client, server, service, protocol;
};

static void widen(int *width, const char *text)
{
	int len = (int)strlen(text);

	if (len > *width)
		*width = len;
}

static void columns_find(struct columns *ret, const struct capture *capture, const struct explainer *explainer)
{
	const struct policy *policy = explainer_policy(explainer);
	char buf[ADDRESS_TEXT_MAX];
	struct flow flow;
	size_t n;
	const struct protocol *protocols = explainer_protocols(explainer, &n);

	*ret = (struct columns){ .client = 6, .server = 6, .service = policy ? 7 : 0, .protocol = 8 };
	for (size_t i = 0; i < flows_count(capture->flows); i++) {
		flows_get(capture->flows, i, &flow);
		widen(&ret->client, end_format(&flow.client, buf));
		widen(&ret->server, end_format(&flow.server, buf));
	}
	for (size_t i = 0; i < n; i++)
		widen(&ret->protocol, protocols[i].name);
	for (size_t i = 0; policy && i < policy->n_services; i++)
		widen(&ret->service, policy->services[i].name);
}

static void head_print(const struct columns *columns, const struct page *page)
{
	fprintf(page->to, "   #       %-*s  %-*s  ", columns->client, "client", columns->server, "server");
	if (columns->service)
		fprintf(page->to, "%-*s  ", columns->service, "service");
	fprintf(page->to, "%-*s  settled at   learned\n", columns->protocol, "protocol");
}

static bool has_attributes(const struct findings *findings)
{
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		if (findings->attribute[i].count > 0)
			return true;
	return false;
}

static void row_print(const struct explanation *explanation, const struct flow *flow, size_t number,
	const struct columns *columns, const struct page *page)
{
	char buf[ADDRESS_TEXT_MAX], settled[32] = "-", of[48];

	fprintf(page->to, "%4zu  %s  %-*s  ", number, flow->is_udp ? "udp" : "tcp", columns->client,
		end_format(&flow->client, buf));
	fprintf(page->to, "%-*s  ", columns->server, end_format(&flow->server, buf));
	if (columns->service)
		fprintf(page->to, "%-*s  ", columns->service, explanation->service ? explanation->service : "-");
	if (explanation->decided_at != EXPLAIN_NEVER)
		snprintf(settled, sizeof(settled), "%zu", explanation->decided_at);
	snprintf(of, sizeof(of), "%s/%zu", settled, explanation->len);
	const char *note = flow->is_midstream               ? "  (begins in the middle)"
		: flow->was_answered && flow->answered == 0 ? "  (the server spoke first)"
							    : "";
	bool is_short = !*note && !flow->is_cut && !has_attributes(explanation->findings);
	fprintf(page->to, "%-*s  %-*s", columns->protocol, explanation->protocol ? explanation->protocol : "-",
		is_short ? 0 : 10, of);
	attributes_print(explanation->findings, "  ", page);
	fprintf(page->to, "%s%s\n", note, flow->is_cut ? "  (cut by the capture)" : "");
}

static void left_out_print(const struct capture *capture, FILE *to)
{
	if (capture->n_others > 0)
		fprintf(to, "%zu packets were neither TCP nor UDP over IP.\n", capture->n_others);
	if (fragments_left(capture->fragments) > 0)
		fprintf(to, "%zu fragments of packets that are not whole were left out.\n",
			fragments_left(capture->fragments));
	if (capture->n_broken > 0)
		fprintf(to, "%zu packets were broken, or cut inside their headers.\n", capture->n_broken);
}

/* Returns how many flows were shown. */
static size_t flows_print(const struct capture *capture, struct explainer *explainer,
	const struct capture_options *options, const struct page *page)
{
	size_t first = options->only ? options->only - 1 : 0, end = options->only ? options->only : SIZE_MAX;
	size_t n = flows_count(capture->flows), n_shown = 0;
	bool is_table = !options->json && !options->only && n != 1;
	struct columns columns;

	if (is_table && n > 0) {
		columns_find(&columns, capture, explainer);
		head_print(&columns, page);
	}
	for (size_t i = first; i < n && i < end; i++, n_shown++) {
		struct flow flow;
		flows_get(capture->flows, i, &flow);
		const struct explanation *explanation = flow_explain(explainer, &flow);
		if (options->json)
			flow_json(explanation, &flow, i + 1, page->to);
		else if (is_table)
			row_print(explanation, &flow, i + 1, &columns, page);
		else
			flow_print(explainer, explanation, &flow, i + 1, page);
	}
	if (is_table && n > 0)
		fprintf(page->to, "\n%zu flows in %zu packets; --flow NUMBER shows all about one.\n", n,
			capture->n_packets);
	return n_shown;
}

int explain_capture(struct explainer *explainer, FILE *from, const char *name, const struct capture_options *options,
	const struct page *page)
{
	char error[PCAP_ERRBUF_SIZE];
	struct capture capture = { .pcap = pcap_fopen_offline(from, error) };
	int status = 1;

	if (!capture.pcap) {
		fprintf(stderr, "usher: %s: %s\n", name, error);
		fclose(from);
		return 1;
	}
	if (!link_find(pcap_datalink(capture.pcap), &capture.link)) {
		const char *type = pcap_datalink_val_to_name(pcap_datalink(capture.pcap));
		fprintf(stderr, "usher: %s: link type %s is not known here\n", name, type ? type : "of no name");
		goto out;
	}
	capture.flows = flows_new(CAPTURE_FLOWS_MAX, CAPTURE_BYTES_MAX);
	capture.fragments = fragments_new();
	if (!capture.flows || !capture.fragments) {
		fprintf(stderr, "usher: %s\n", strerror(ENOMEM));
		goto out;
	}
	status = !capture_read(&capture, name, options->progress);
	if (flows_print(&capture, explainer, options, page) == 0) {
		fprintf(stderr, "usher: %s: there is no %sflow in its %zu packets\n", name,
			options->only ? "such " : "", capture.n_packets);
		status = options->only ? 1 : status;
	}
	if (!options->only)
		left_out_print(&capture, options->json ? stderr : page->to);
out:
	flows_free(capture.flows);
	fragments_free(capture.fragments);
	pcap_close(capture.pcap);
	return status;
}
