package sandbox

import "slices"

// Limits of request bodies. An upload may be as large as its message plus the
// metadata part around it; base64 in JSON makes a message a third larger.
const (
	limitNone   = 64 << 10
	limitToken  = 256 << 10
	limitSmall  = 1 << 20
	limitObject = 256 << 20
)

// ownRoutes are those of which Discovery knows nothing, or which are not called
// as a user: the rest is methods.
func ownRoutes() []*route {
	return slices.Concat(metadataRoutes(), iamRoutes(), keyRoutes(), tokenRoutes(), tokenInfoRoutes(), federationRoutes(), secretRoutes(), usageRoutes())
}
