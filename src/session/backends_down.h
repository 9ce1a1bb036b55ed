/* Ends sessions whose backend was found down by checks, where their service wants that (`on_down = "close"'). */
#pragma once

struct context;

/* From now on, if a service of the policy wants it. */
void backends_down_watch(struct context *context);
