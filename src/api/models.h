/* The door of the models: list, pull, remove, choose. */
#ifndef API_MODELS_H
#define API_MODELS_H

#include "http/server.h"

void api_models(struct http_request *r);        /* GET /models */
void api_model(struct http_request *r);         /* GET /models/{name} */
void api_model_pull(struct http_request *r);    /* POST /models/{name}/pull */
void api_model_remove(struct http_request *r);  /* DELETE /models/{name} */
void api_model_default(struct http_request *r); /* PUT /models/default */
extern const struct http_body_handler api_model_default_body;
extern const struct http_ws_handler api_model_progress; /* WS /ws/models/{name} */

#endif
