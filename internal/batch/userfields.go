package batch

// shape is what is known of a value before there is any.
type shape int

const (
	shapeAny shape = iota // known when it is there
	shapeOne              // a text, a number or a boolean
	shapeList
	shapeObject // with fields that are not known
	shapeScope
	shapeUser
	shapeName // of the user
	shapeRow
	shapeBatch
	shapeLiteral // it stands in the template
)

// userFields are the fields of a user in the Directory, admin directory_v1, but for those
// that it takes and never gives, with their names in Go (https://developers.google.com/workspace/admin/directory/reference/rest/v1/users).
var userFields = map[string]shape{
	"Addresses":                  shapeList,
	"AgreedToTerms":              shapeOne,
	"Aliases":                    shapeList,
	"ArchivalTime":               shapeOne,
	"Archived":                   shapeOne,
	"ChangePasswordAtNextLogin":  shapeOne,
	"CreationTime":               shapeOne,
	"CustomSchemas":              shapeObject,
	"CustomerId":                 shapeOne,
	"DeletionTime":               shapeOne,
	"Emails":                     shapeList,
	"Etag":                       shapeOne,
	"ExternalIds":                shapeList,
	"Gender":                     shapeObject,
	"GuestAccountInfo":           shapeObject,
	"Id":                         shapeOne,
	"Ims":                        shapeList,
	"IncludeInGlobalAddressList": shapeOne,
	"IpWhitelisted":              shapeOne,
	"IsAdmin":                    shapeOne,
	"IsDelegatedAdmin":           shapeOne,
	"IsEnforcedIn2Sv":            shapeOne,
	"IsEnrolledIn2Sv":            shapeOne,
	"IsGuestUser":                shapeOne,
	"IsMailboxSetup":             shapeOne,
	"Keywords":                   shapeList,
	"Kind":                       shapeOne,
	"Languages":                  shapeList,
	"LastLoginTime":              shapeOne,
	"Locations":                  shapeList,
	"Name":                       shapeName,
	"NonEditableAliases":         shapeList,
	"Notes":                      shapeObject,
	"OrgUnitPath":                shapeOne,
	"Organizations":              shapeList,
	"Phones":                     shapeList,
	"PosixAccounts":              shapeList,
	"PrimaryEmail":               shapeOne,
	"RecoveryEmail":              shapeOne,
	"RecoveryPhone":              shapeOne,
	"Relations":                  shapeList,
	"SshPublicKeys":              shapeList,
	"Suspended":                  shapeOne,
	"SuspensionReason":           shapeOne,
	"SuspensionTime":             shapeOne,
	"ThumbnailPhotoEtag":         shapeOne,
	"ThumbnailPhotoUrl":          shapeOne,
	"Websites":                   shapeList,
}

var nameFields = map[string]shape{"DisplayName": shapeOne, "FamilyName": shapeOne, "FullName": shapeOne, "GivenName": shapeOne}

var (
	scopeFields = map[string]shape{"User": shapeUser, "Row": shapeRow, "Batch": shapeBatch}
	batchFields = map[string]shape{"ID": shapeOne, "Name": shapeOne, "Time": shapeOne}
)

// known are the fields of what has known fields, what it is called and where it is.
func (s shape) known() (fields map[string]shape, what, where string) {
	switch s {
	case shapeScope:
		return scopeFields, "of what templates see", ""
	case shapeUser:
		return userFields, "of the Directory's user", ".User"
	case shapeName:
		return nameFields, "of a user's name", ".User.Name"
	case shapeBatch:
		return batchFields, "of the batch", ".Batch"
	default:
		return nil, "", ""
	}
}

// whole tells whether it stands for the whole user, row, batch or all of them: what
// is then used of it must be known.
func (s shape) whole() bool {
	fields, _, _ := s.known()
	return s == shapeRow || fields != nil
}

// accepted says which fields there are.
func (s shape) accepted() string {
	if fields, _, _ := s.known(); fields != nil {
		return "; accepted are " + sorted(fields)
	}
	return ""
}
