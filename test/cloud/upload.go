package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
)

// zipType is the only content type that the URLs for source are signed for
// (https://cloud.google.com/functions/docs/reference/rest/v2/projects.locations.functions/generateUploadUrl).
const zipType = "application/zip"

// storageMethods are what gcloud needs of Cloud Storage: the upload to a signed URL, and
// the logs of builds.
func storageMethods() []method {
	return []method{
		{verb: http.MethodPut, path: "/{bucket}/{object}", query: signature, do: (*Server).upload},
		{verb: http.MethodGet, path: "/{bucket}/{object}", do: (*Server).download},
	}
}

// signature is the parameter of a signed URL that stands for the caller's token.
const signature = "X-Goog-Signature"

// signed says whether a request brings a signature in place of a token.
func signed(c *call) bool {
	return c.host == "storage.googleapis.com" && c.query.Has(signature)
}

// uploadURL is where an object can be put, once and as a zip.
func (s *Server) uploadURL(bucket, name string) string {
	path := "/" + bucket + "/" + name
	return "http://storage." + top + path + "?" + url.Values{signature: {s.sign(path, zipType)}}.Encode()
}

func (s *Server) sign(path, contentType string) string {
	mac := hmac.New(sha256.New, []byte(s.secret))
	_, _ = fmt.Fprintf(mac, "PUT\n%s\n%s", path, contentType) // a hash takes everything
	return hex.EncodeToString(mac.Sum(nil))
}

// upload takes what was signed for and nothing else.
func (s *Server) upload(c *call) (any, error) {
	if !hmac.Equal([]byte(c.query.Get(signature)), []byte(s.sign(c.path, c.r.Header.Get("Content-Type")))) {
		return nil, rawError{status: http.StatusForbidden, body: `<?xml version='1.0' encoding='UTF-8'?><Error><Code>SignatureDoesNotMatch</Code><Message>Access denied.</Message><Details>The request signature we calculated does not match the signature you provided. Check your Google secret key and signing method.</Details></Error>`}
	}
	if len(c.raw) == 0 {
		return nil, rawError{status: http.StatusBadRequest, body: "<Error><Code>InvalidArgument</Code></Error>"}
	}
	s.uploads[c.vars["bucket"]+"/"+c.vars["object"]] = c.raw
	return object{}, nil
}

// download gives the end of an object that begins where the caller has read to, as
// gcloud follows a log (api_lib/cloudbuild/logs.py).
func (s *Server) download(c *call) (any, error) {
	data, ok := s.uploads[c.vars["bucket"]+"/"+c.vars["object"]]
	if !ok {
		return nil, rawError{status: http.StatusNotFound, body: "<Error><Code>NoSuchKey</Code></Error>"}
	}
	var from int
	if _, err := fmt.Sscanf(c.r.Header.Get("Range"), "bytes=%d-", &from); err != nil || from >= len(data) {
		return nil, rawError{status: http.StatusRequestedRangeNotSatisfiable}
	}
	return nil, rawError{status: http.StatusPartialContent, body: string(data[from:])}
}
