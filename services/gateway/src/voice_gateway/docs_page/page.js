"use strict";

SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  requestSnippetsEnabled: true,
  validatorUrl: null, // no other host hears of this document
});
