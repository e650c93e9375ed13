/* A converter that knows nothing of the engine's readers: the ggml file of a real model
 * becomes a Hugging Face folder, so that both readers can be held against each other. */
#ifndef TESTS_ENGINE_GGML_TO_FOLDER_H
#define TESTS_ENGINE_GGML_TO_FOLDER_H

/* Write config.json, tokenizer.json and model.safetensors of the file at `path`, a
 * multilingual model with f16 or f32 weights, into `folder`. The test fails if it cannot.
 */
void ggml_to_folder(const char *path, const char *folder);

#endif
