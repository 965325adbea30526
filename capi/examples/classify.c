/* Runs the model that is linked into this program, on an input of zeros, and prints its outputs.
 *
 *   cygnet bundle model.cygnet --object x86_64 --symbol net -o net.o
 *   cc -I capi/include classify.c net.o target/release/libcygnet_capi.a -lm -lpthread -ldl -o classify
 */
#include <stdio.h>
#include <string.h>

#include "cygnet.h"
#include "net.h"

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, cygnet_last_error());
    return 1;
}

int main(void) {
    cygnet_tensor tensor;
    cygnet_model *model = cygnet_model_from_static(net, net_size);
    if (!model) return fail("model");
    cygnet_session *session = cygnet_session_new(model, 0, 1);
    if (!session) return fail("session");
    cygnet_model_close(model); /* The session keeps it. */

    for (size_t i = 0; i < cygnet_session_inputs(session); i++) {
        if (cygnet_session_input(session, i, &tensor)) return fail("input");
        memset(cygnet_session_input_data(session, i), 0, tensor.bytes);
    }
    if (cygnet_session_run(session)) return fail("run");
    for (size_t i = 0; i < cygnet_session_outputs(session); i++) {
        if (cygnet_session_output(session, i, &tensor)) return fail("output");
        const unsigned char *data = cygnet_session_output_data(session, i);
        if (!data) return fail("output");
        printf("%s", tensor.name);
        for (size_t k = 0; k < tensor.bytes; k++) printf("%s%02x", k % 4 ? "" : " ", data[k]);
        printf("\n");
    }
    cygnet_session_free(session);
    return 0;
}
