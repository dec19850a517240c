/* The thread-local variable of OpenTelemetry's thread context, and how this program sets it. It is linked into the program, or built
 * as a library, with each of the ways to reach such a variable. */

__thread void *otel_thread_ctx_v1 = 0;

void slot_set(void *record)
{
	otel_thread_ctx_v1 = record;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}
