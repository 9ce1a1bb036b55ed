/* What the exporter answers. */
#pragma once
#include "exporter.h"
#include "exporter_http.h"
#include <microhttpd.h>
#include <stdint.h>

struct exporter_source {
	const struct shared *shared;
	const struct policy *policy;
	const struct resolved *resolved; /* of its names; NULL: it has none */
	struct exporter_memory *memory;
};

struct exporter_answers {
	struct exporter_source source;
	struct {
		struct MHD_Response *response; /* NULL: none */
		uint64_t made_us;
	} cached[ANSWER_CACHED];
	size_t outstanding; /* bytes of answers that somebody still reads, or that are kept */
	char *spare; /* memory of one that nobody reads any more, for the next: to get that from the kernel costs more than the rest */
	size_t spare_size;
};

/* Queues it for this client. MHD_NO: no memory, and its connection is to be closed. */
enum MHD_Result exporter_answer(struct exporter_answers *answers, struct MHD_Connection *connection,
	enum exporter_answer answer, uint64_t now_us);

/* One more sample of the history. */
void exporter_sample(const struct exporter_source *source);
